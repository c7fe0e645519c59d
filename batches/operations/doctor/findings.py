"""`Finding` of a check, and time limits for slow checks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

Result = TypeVar("Result")
Check = Callable[[], Iterator["Finding"]]


class Health(Enum):
    GOOD = "ok"
    NOTE = "note"
    BAD = "BAD"


@dataclass(frozen=True)
class Finding:
    about: str
    health: Health
    sentence: str
    advice: str = ""


def good(about: str, sentence: str) -> Finding:
    return Finding(about, Health.GOOD, sentence)


def note(about: str, sentence: str, advice: str = "") -> Finding:
    return Finding(about, Health.NOTE, sentence, advice)


def bad(about: str, sentence: str, advice: str) -> Finding:
    return Finding(about, Health.BAD, sentence, advice)


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: ``1 task``, ``2 tasks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def safely(about: str, check: Check) -> Iterator[Finding]:
    """Run a check; an exception becomes a finding."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - any failure here is a finding
        yield bad(about, f"This check failed with {type(error).__name__}.", "See the log for details.")


class Background:
    """Runs work in threads and collects the results until a deadline.

    Unfinished work continues in the background and never keeps the process alive.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def start(self, work: Callable[[], Result]) -> Callable[[], Result | None]:
        """Start the work; the returned function waits for its result, or returns None at the deadline.

        Without a thread for it, the work is done at once.
        """
        results: list[Result] = []
        thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # The limit of processes is reached.
            result = work()
            return lambda: result

        def wait() -> Result | None:
            thread.join(max(0.0, self._deadline - time.monotonic()))
            return results[0] if results else None

        return wait
