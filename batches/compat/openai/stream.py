"""Streaming of a transcript as server-sent events while its file is being recognised.

A segment is sent once its text is final: see :mod:`batches.worker.live_segments`. The last event,
``transcript.text.done``, contains the concatenated deltas. If a worker was lost and the retry recognised
different text, no further deltas are sent, and the last event contains the text of the stored transcript.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from django.db.models import Max
from django.http import HttpResponse

from batches.compat.openai.results import Result, Streamed, event
from batches.compat.waiting import HeldTask
from batches.formats.context import default_speaker_name
from batches.models import StreamedSegments, Task
from speechportal.platform.held_responses import ReadProgress

Progress = tuple[str, int, int | None]  # a task's state, progress in per cent, key of its latest segments
CONTENT_TYPE = "text/event-stream; charset=utf-8"


def read_progress(task_ids: Collection[int]) -> Mapping[int, Progress]:
    """State, progress and key of the latest streamed segments of each task, in one query."""
    tasks = Task.unscoped.filter(pk__in=task_ids).order_by().annotate(latest=Max("streamed_segments__pk"))
    rows = tasks.values_list("pk", "state", "progress", "latest")
    return {pk: (state, progress, latest) for pk, state, progress, latest in rows}


class HeldStream(HeldTask):
    """Held request whose response is a stream of server-sent events."""

    read_progress: ReadProgress = staticmethod(read_progress)
    streams = True
    keep_alive = b": waiting\n\n"

    def __init__(
        self,
        *,
        seconds: float,
        start: Callable[[], Task],
        is_diarized: bool,
        problem: Callable[[Exception], HttpResponse],
        late: Callable[[Task | None], HttpResponse],
    ) -> None:
        super().__init__(seconds=seconds, start=start, answer=self._end, problem=problem, late=late)
        self._streamed = Streamed(is_diarized=is_diarized)
        self._read_to = 0  # primary key of the last row that was read
        self._count = 0  # recognised segments
        self._differs = False  # a retry recognised text that differs from what was sent

    def head(self) -> HttpResponse:
        head = HttpResponse(content_type=CONTENT_TYPE)
        head.headers["X-Accel-Buffering"] = "no"  # Otherwise nginx would hold events back.
        return head

    def events(self, progress: Progress | None) -> bytes:
        if progress is None:
            return b""
        return self._new_segments() or f": {progress[0]} {progress[1]} %\n\n".encode()

    def _new_segments(self) -> bytes:
        rows = StreamedSegments.unscoped.filter(task_id=self.subject, pk__gt=self._read_to).order_by("pk")
        parts: list[bytes] = []
        for row in rows:
            self._read_to = row.pk
            for number, segment in enumerate(row.segments, row.position):
                if number < len(self._streamed.texts):
                    self._differs |= self._streamed.texts[number] != segment["text"]
                elif not self._differs:
                    speaker = default_speaker_name(segment["speaker"] or "1")
                    parts.append(self._streamed.add(**{**segment, "speaker": speaker}))
            self._count = row.position + len(row.segments)
        return b"".join(parts)

    def _end(self, task: Task) -> HttpResponse:
        """Remaining events once the task has ended. Raises ``Problem`` as :class:`Result` does."""
        result = Result(task)
        if not self._streamed.texts:
            body = b"".join(result.events())
        else:
            body = self._new_segments()
            differs = self._differs or self._count < len(self._streamed.texts)
            text = result.text if differs else self._streamed.text
            body += event({"type": "transcript.text.done", "text": text, "usage": result.usage()})
        return HttpResponse(body, content_type=CONTENT_TYPE)
