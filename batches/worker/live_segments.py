"""Live segments: final segments that a streaming client can read while its file is being recognised.

The engine reports segments that recognition cannot change any more. They are published once post-processing
cannot change them either: replacements and forbidden words stay within a segment, but redacted data may span
several, so the last segments wait until the following ones are known.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from batches.formats.forbidden import without_forbidden
from batches.models import ClientRequest, Task
from batches.models.task_settings import TaskSettings
from batches.postprocessing import transcript as postprocessing
from batches.recognition.transcript import Segment, Transcript
from batches.tasks import lifecycle
from batches.tasks.leases import Lease
from batches.worker.result_files import result_context

FLUSH_SECONDS = 1.0
# Post-processing reads all segments so far; it may take at most one part in this many of the time.
_SHARE = 20


class LiveSegments:
    """Live segments of one task in progress."""

    def __init__(self, task: Task, lease: Lease, chosen: TaskSettings) -> None:
        self._task, self._lease, self._rules = task, lease, chosen.rules
        self._segments: list[Segment] = []
        self._language: str | None = None  # None before the first segment
        self._written = 0
        self._looked_at = 0  # number of segments at the last post-processing
        self._due_at = 0.0

    def take(self, first: int, segments: Sequence[Segment], language: str) -> None:
        """Add segments from the engine. ``first`` is 0 again if recognition was restarted."""
        if first == 0 and self._written:
            lifecycle.stream(self._lease, 0, [])
            self._written = 0
            self._looked_at = 0
        self._segments[first:] = segments
        self._language = language
        self.flush()

    def flush(self) -> None:
        """Publish the segments that are final, throttled. Raises LeaseLost and CancelRequested."""
        began = time.monotonic()
        if self._language is None or len(self._segments) == self._looked_at or began < self._due_at:
            return
        if self._language or not self._rules.need_language:
            heard = Transcript(self._language, 1.0, 0, self._segments)
            count = postprocessing.settled(heard, self._rules)
            if count > self._written:
                self._write(postprocessing.process(heard, self._rules), count)
        self._looked_at = len(self._segments)
        took = time.monotonic() - began
        self._due_at = began + max(FLUSH_SECONDS, _SHARE * took)

    def finish(self, published: Transcript) -> None:
        """Publish the remaining segments, before the transcript is stored as the task's checkpoint."""
        self._write(published, len(published.segments))

    def _write(self, published: Transcript, count: int) -> None:
        shown, _context = without_forbidden(published, result_context(self._task))
        rows = [
            {
                "start": segment.start,
                "end": segment.end,
                "speaker": segment.speaker,
                "text": segment.text.strip(),
            }
            for segment in shown.segments[self._written : count]
        ]
        lifecycle.stream(self._lease, self._written, rows)
        self._written = count


def of_task(task: Task, lease: Lease) -> LiveSegments | None:
    """Live segments of a task with a streaming client; ``None`` if no segment can be published early.

    That is the case for a stream of speaker turns, since diarization follows recognition.
    """
    request = ClientRequest.unscoped.filter(task=task).first()
    if request is None or not request.answer.get("stream") or task.settings is None:
        return None
    needs_speakers = request.answer.get("response_format") == "diarized_json"
    if needs_speakers and task.settings.recognition.speakers:
        return None
    return LiveSegments(task, lease, task.settings)
