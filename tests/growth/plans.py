"""Queries of a step: their database time, and the large tables that a plan reads from end to end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.growth.filling import TABLES
from tests.query_times import query_times

ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """Database time of a step, in seconds, with what it says of its queries."""

    seconds: float
    queries: int
    scans: list[str]
    slowest: tuple[float, str]


def measured(call: Callable[[], object], *, repeats: bool = True) -> Measured:
    """Measure a call: the fastest of three times after a first one, or its only time if it cannot repeat."""
    if not repeats:
        with explained() as found:
            call()
        return _of([(took, sql) for took, sql, _plan in found], [plan for _took, _sql, plan in found])
    with explained() as found:
        call()  # also warms up
    plans = [plan for _took, _sql, plan in found]
    rounds = []
    for _ in range(ROUNDS):
        with query_times() as spent:
            call()
        rounds.append(spent)
    return _of(min(rounds, key=lambda spent: sum(took for took, _sql in spent)), plans)


def _of(spent: list[tuple[float, str]], plans: list[str]) -> Measured:
    scans = sorted({table for plan in plans for table in whole_reads(plan)})
    return Measured(sum(took for took, _sql in spent), len(spent), scans, max(spent, default=(0.0, "")))


@contextmanager
def explained() -> Iterator[list[tuple[float, str, str]]]:
    """Context manager: (seconds, SQL, plan) of every SELECT, UPDATE and DELETE inside."""
    import time

    from django.db import connection

    found: list[tuple[float, str, str]] = []

    def wrap(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        plan = ""
        if sql.startswith(("SELECT", "UPDATE", "DELETE")) and not many:
            with connection.connection.cursor() as cursor:
                # Small tables are read whole although an index would do; after this, only where none does.
                cursor.execute("SET enable_seqscan = off")
                cursor.execute(f"EXPLAIN {sql}", params)
                plan = "\n".join(row[0] for row in cursor.fetchall())
                cursor.execute("RESET enable_seqscan")
        started = time.perf_counter()
        answer = execute(sql, params, many, context)
        found.append((time.perf_counter() - started, sql, plan))
        return answer

    with connection.execute_wrapper(wrap):
        yield found


def whole_reads(plan: str) -> list[str]:
    """Large tables that a plan scans completely."""
    read = re.findall(r"Seq Scan on (\w+)", plan)
    return [table for table in read if table in TABLES]
