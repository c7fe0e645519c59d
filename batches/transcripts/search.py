"""Search of an account's transcripts by words.

Each transcript has one row of text, folded and spelt as a query is (:func:`spell`). All words of a query must
be in it, anywhere and as parts of longer words: Korean attaches particles to nouns without a space, so
whole-word search would miss most hits. On PostgreSQL a trigram index (migration 0002) serves such a search;
SQLite reads the account's rows.

A trigram is three characters, and most Korean words are two syllables, too short for it. So each syllable is
stored as its three letters, with a placeholder for a missing last one. "상품" then has six characters, and
matches only where these two syllables are, since first, middle and last letters are different characters.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import Case, Func, IntegerField, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Length, Replace
from django.db.models.lookups import Contains

from batches.formats.lines import Line, recognised_text
from batches.formats.lines import lines_of as edited_lines
from batches.models import Correction, SearchText, StoredTranscript, Task
from batches.recognition.chinese_script import simplified
from batches.recognition.transcript import Transcript
from speechportal.accounts.models import Account

WORD_LIMIT = 8  # of a query
HIT_LIMIT = 5  # lines shown of one transcript
RANKED = 500  # The newest that match are put in order of how well they do; to rank is to read each.

# A Hangul syllable is a first letter, a vowel, and a last letter or none (Unicode, chapter 3.12).
SYLLABLES, FIRSTS, VOWELS, LASTS = 0xAC00, 0x1100, 0x1161, 0x11A7
NO_LAST = "\u11ff"  # A last letter that no syllable has.
SPELLING = {
    SYLLABLES + 588 * first + 28 * vowel + last: f"{chr(FIRSTS + first)}{chr(VOWELS + vowel)}"
    + (chr(LASTS + last) if last else NO_LAST)
    for first in range(19)
    for vowel in range(21)
    for last in range(28)
}


@dataclass(frozen=True)
class Hit:
    """Line in which words of the query were found."""

    uid: str  # of the line
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
    """The same for spellings that a person takes for the same: width, case, composed letters, spaces, and
    Traditional or Simplified Chinese characters."""
    return " ".join(_folded(text).split())


def _folded(text: str) -> str:
    return simplified(unicodedata.normalize("NFKC", text).casefold())


def spell(text: str) -> str:
    """Fold a text and write every Hangul syllable as three letters."""
    return text.translate(SPELLING)


def query_words(query: str) -> list[str]:
    # PostgreSQL takes no NUL, and nobody says one.
    return list(dict.fromkeys(fold(query.replace("\0", " ")).split()))[:WORD_LIMIT]


def index(task: Task, transcript: Transcript, correction: Correction | None = None) -> None:
    """Write the search index row of a transcript, as corrected."""
    lines = (spell(fold(text)) for _line, text in corrected_lines(transcript, correction))
    SearchText.unscoped.update_or_create(
        task=task, defaults={"account_id": task.account_id, "text": "\n".join(lines)}
    )


def corrected_lines(transcript: Transcript, correction: Correction | None) -> list[tuple[Line, str]]:
    """Lines as people cut them, each with its text as corrected."""
    lines = edited_lines(transcript, correction.lines if correction else {})
    return [
        (line, recognised_text(transcript, line) if line.text is None else line.text.strip())
        for line in lines
    ]


def index_transcript(*, instance: StoredTranscript, **_kwargs: Any) -> None:
    """Index a transcript when it is stored (receiver of ``post_save``)."""
    correction = Correction.unscoped.filter(task=instance.task_id).first()
    index(instance.task, instance.published(), correction)


def matching(account: Account, query: str) -> QuerySet[Task]:
    """Tasks of the account whose transcript contains every word of ``query``."""
    words = query_words(query)
    if not words:
        return Task.objects.for_account(account).none()
    texts = containing(SearchText.objects.for_account(account), words)
    return Task.objects.for_account(account).filter(pk__in=texts.order_by().values("task"))


def containing(texts: QuerySet[SearchText], words: list[str]) -> QuerySet[SearchText]:
    """Filter texts that contain every word, by the index if there is one."""
    if connections[texts.db].vendor == "postgresql":
        looked_into = Func("text", function="speechportal_search_text", output_field=TextField())
        for word in words:
            texts = texts.filter(Contains(looked_into, spell(word)))
        return texts
    for word in words:
        texts = texts.filter(text__contains=spell(word))
    return texts


def search(account: Account, query: str) -> QuerySet[Task]:
    """Matching tasks, ranked: adjacent words first, then by frequency, then the newest."""
    tasks = matching(account, query)
    words = [spell(word) for word in query_words(query)]
    edge = next(iter(tasks.order_by("-pk").values_list("pk", flat=True)[RANKED - 1 : RANKED]), 0)
    text = "search_text__text"
    said = sum((Length(text) - Length(Replace(text, Value(word), Value("")))) / len(word) for word in words)
    together = Q(pk__gte=edge) & Q(search_text__text__contains=" ".join(words))
    tasks = tasks.annotate(
        together=Case(When(together, then=1), default=0, output_field=IntegerField()),
        said=Case(When(pk__gte=edge, then=said), default=0, output_field=IntegerField()),
    )
    return tasks.select_related("batch", "transcript", "correction").order_by("-together", "-said", "-pk")


def lines_of(task: Task, query: str) -> Found:
    """Best lines of a task that :func:`search` returned, in order of time."""
    words = [spell(word) for word in query_words(query)]
    transcript = task.transcript.published()
    correction: Correction | None = getattr(task, "correction", None)
    counted = []
    for line, text in corrected_lines(transcript, correction):
        spelt = spell(fold(text))
        if count := sum(word in spelt for word in words):
            counted.append((count, Hit(line.uid, line.start, line.speaker, text)))
    best = max((count for count, _ in counted), default=0)
    hits = [hit for count, hit in counted if count == best]
    names = dict(correction.speaker_names) if correction else {}
    return Found(task, hits[:HIT_LIMIT], max(0, len(hits) - HIT_LIMIT), names)


def marked(text: str, query: str) -> list[tuple[str, bool]]:
    """Split a text into parts, each with whether it is one of the query's words.

    Folding may change the length of a text (NFKC); then no part is marked.
    """
    folded = _folded(text)
    words = query_words(query)
    if len(folded) != len(text) or not words:
        return [(text, False)]
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
    parts, at = [], 0
    for match in pattern.finditer(folded):
        parts += [(text[at : match.start()], False), (text[match.start() : match.end()], True)]
        at = match.end()
    return [(part, found) for part, found in [*parts, (text[at:], False)] if part]
