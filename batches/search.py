"""Finding words in everything that an account has had recognised.

Each transcript keeps its words in one row, folded the way a query is (:func:`fold`). A query's words must
all be in it, anywhere and as parts of longer words: Korean puts its particles behind a noun without a
space, so that whole-word search would miss most of what people look for. On PostgreSQL a trigram index
(migration 0005) serves exactly such a search; SQLite reads the account's rows.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from batches.models import Correction, SearchText, Task
from batches.models import Transcript as Checkpoint
from batches.recognition.transcript import Transcript
from speechportal.accounts.models import Account

WORD_LIMIT = 8  # of a query
HIT_LIMIT = 5  # lines shown of one transcript


@dataclass(frozen=True)
class Hit:
    """A line in which words of the query were found."""

    index: int  # of the segment
    start: int  # ms
    speaker: str  # label
    text: str  # as corrected


@dataclass(frozen=True)
class Found:
    task: Task
    hits: list[Hit]
    more: int  # lines found beside those
    speaker_names: dict[str, str]


def fold(text: str) -> str:
    """The same for spellings that a person takes for the same: width, case, composed letters, spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def query_words(query: str) -> list[str]:
    return list(dict.fromkeys(fold(query).split()))[:WORD_LIMIT]


def index(task: Task, transcript: Transcript, correction: Correction | None = None) -> None:
    """Keep the words of a transcript, as corrected, for searching."""
    edited = correction.edited_texts() if correction else {}
    lines = (fold(edited.get(at, segment.text)) for at, segment in enumerate(transcript.segments))
    SearchText.unscoped.update_or_create(
        task=task, defaults={"account_id": task.account_id, "text": "\n".join(lines)}
    )


def index_checkpoint(*, instance: Checkpoint, **_kwargs: Any) -> None:
    """A receiver of ``post_save``: what was just recognised can be found at once."""
    correction = Correction.unscoped.filter(task=instance.task_id).first()
    index(instance.task, Transcript.from_dict(instance.document), correction)


def search(account: Account, query: str) -> QuerySet[Task]:
    """The account's tasks whose transcript has every word of ``query``, newest first."""
    words = query_words(query)
    texts = SearchText.objects.for_account(account)
    if not words:
        return Task.objects.for_account(account).none()
    for word in words:
        texts = texts.filter(text__contains=word)
    tasks = Task.objects.for_account(account).filter(pk__in=texts.order_by().values("task"))
    return tasks.select_related("batch", "transcript", "correction").order_by("-pk")


def lines_of(task: Task, query: str) -> Found:
    """Where in a task that :func:`search` returned the words are said: best lines, in order of time."""
    words = query_words(query)
    transcript = Transcript.from_dict(task.transcript.document)
    correction: Correction | None = getattr(task, "correction", None)
    edited = correction.edited_texts() if correction else {}
    counted = []
    for at, segment in enumerate(transcript.segments):
        text = edited.get(at, segment.text).strip()
        folded = fold(text)
        if count := sum(word in folded for word in words):
            counted.append((count, Hit(at, segment.start, segment.speaker, text)))
    best = max((count for count, _ in counted), default=0)
    hits = [hit for count, hit in counted if count == best]
    names = dict(correction.speaker_names) if correction else {}
    return Found(task, hits[:HIT_LIMIT], max(0, len(hits) - HIT_LIMIT), names)


def marked(text: str, query: str) -> list[tuple[str, bool]]:
    """The text in parts, each with whether it is one of the words looked for.

    Folding may change how long a text is (NFKC); where it does, nothing is set off.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = query_words(query)
    if len(folded) != len(text) or not words:
        return [(text, False)]
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
    parts, at = [], 0
    for match in pattern.finditer(folded):
        parts += [(text[at : match.start()], False), (text[match.start() : match.end()], True)]
        at = match.end()
    return [(part, found) for part, found in [*parts, (text[at:], False)] if part]
