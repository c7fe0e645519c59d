"""Durations of database queries."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from django.db import connection


@contextlib.contextmanager
def query_times() -> Iterator[list[tuple[float, str]]]:
    """(seconds, SQL) of each query inside, in a list that fills meanwhile."""
    spent: list[tuple[float, str]] = []

    def measure(execute: Any, sql: str, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, *arguments)
        finally:
            spent.append((time.perf_counter() - started, sql))

    with connection.execute_wrapper(measure):
        yield spent
