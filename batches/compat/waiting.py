"""`HeldTask`: a synchronous request, answered once its task has ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from django.http import HttpResponse

from batches.models import Task
from speechportal.platform.held_responses import Held, ReadProgress

Progress = tuple[str, int]  # the task's state and its progress in per cent


def read_progress(task_ids: Collection[int]) -> Mapping[int, Progress]:
    """State and progress of tasks, with one query for all of them."""
    rows = Task.unscoped.filter(pk__in=task_ids).values_list("pk", "state", "progress")
    return {pk: (state, progress) for pk, state, progress in rows}


class HeldTask(Held):
    """A request that waits for the end of a task.

    Args:
        seconds: The longest wait.
        start: Makes the task; it may take its time, and is called once.
        answer: Makes the response of a task that has ended.
        problem: Makes the response for an exception of ``start`` or ``answer``.
        late: Makes the response for a task that has not ended, or was not made yet.
    """

    read_progress: ReadProgress = staticmethod(read_progress)

    def __init__(
        self,
        *,
        seconds: float,
        start: Callable[[], Task],
        answer: Callable[[Task], HttpResponse],
        problem: Callable[[Exception], HttpResponse],
        late: Callable[[Task | None], HttpResponse],
    ) -> None:
        self.seconds = seconds
        self.task: Task | None = None
        self._start, self._answer, self._problem, self._late = start, answer, problem, late

    def begin(self) -> HttpResponse | None:
        try:
            self.task = self._start()
        except Exception as error:  # noqa: BLE001 - the interface's handler answers any of them
            return self._problem(error)
        return None

    @property
    def subject(self) -> int:
        return self.task.pk if self.task else 0

    def answer(self, progress: Progress | None) -> HttpResponse | None:
        if progress is not None and progress[0] not in Task.FINAL:
            return None
        task = Task.unscoped.select_related("batch__domain", "account").filter(pk=self.subject).first()
        try:
            return self._late(self.task) if task is None else self._answer(task)
        except Exception as error:  # noqa: BLE001 - likewise
            return self._problem(error)

    def late(self) -> HttpResponse:
        return self._late(self.task)

    def stopped(self) -> HttpResponse:
        response = self._late(self.task)
        response.status_code = 503
        return response
