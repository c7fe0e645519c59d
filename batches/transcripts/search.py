"""Search of an account's transcripts by words, phrases and file names.

Each transcript has one row of text, folded and spelt as a query is
(:mod:`batches.transcripts.search_query`): the file's name in the first line, then the lines of the
transcript. All terms of a query must be in it, anywhere and as parts of longer words: Korean attaches
particles to nouns without a space, so whole-word search would miss most hits. On PostgreSQL a trigram index
(migration 0002) serves such a search; SQLite reads the account's rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import Case, Func, IntegerField, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Length, Replace
from django.db.models.lookups import Contains

from batches.formats.lines import Line, recognised_text
from batches.formats.lines import lines_of as edited_lines
from batches.models import Correction, SearchText, StoredTranscript, Task
from batches.recognition.transcript import Transcript
from batches.transcripts.search_filter import SearchFilter, spoken_line
from batches.transcripts.search_query import SearchQuery, fold, spell
from speechportal.accounts.models import Account

HIT_LIMIT = 5  # lines shown of one transcript
RANKED = 500  # The newest that match are put in order of how well they do; to rank is to read each.
EVERYTHING = SearchFilter()


@dataclass(frozen=True)
class Hit:
    """Line in which words of the query were found."""

    uid: str  # of the line
    start: int  # ms
    speaker: str  # label
    text: str  # as corrected
    find: str  # what of the query stands there as it is, for the search field of the transcript's page


@dataclass(frozen=True)
class Found:
    """A file that was found: how many of its lines have words of the query, and the best of these."""

    task: Task
    hits: list[Hit]
    count: int  # lines
    speaker_names: dict[str, str]
    is_named: bool = False  # whether words of the query are in the file's name
    language: str = ""

    @property
    def more(self) -> int:
        """Lines found beside those that are shown."""
        return self.count - len(self.hits)


def index(task: Task, transcript: Transcript, correction: Correction | None = None) -> None:
    """Write the search index row of a transcript, as corrected."""
    lines = corrected_lines(transcript, correction)
    names = correction.speaker_names if correction else {}
    spoken = [(names[line.speaker], text) for line, text in lines if names.get(line.speaker)]
    columns = {
        "account_id": task.account_id,
        "text": "\n".join(spell(fold(text)) for text in [task.name, *(text for _line, text in lines)]),
        "language": transcript.language[:20],
        "domain_code": task.settings.domain if task.settings else "",
        "spoken": "\n".join(spoken_line(name, text) for name, text in spoken),
    }
    SearchText.unscoped.update_or_create(task=task, defaults=columns)


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


def matching(account: Account, query: str, chosen: SearchFilter = EVERYTHING) -> QuerySet[Task]:
    """Tasks of the account whose transcript or name has every term of ``query``, and none it excludes.

    With neither a query nor a filter there are none.
    """
    asked = SearchQuery.parse(query)
    if asked.is_empty and (query.strip() or chosen.is_empty):
        return Task.objects.for_account(account).none()
    texts = chosen.apply(containing(SearchText.objects.for_account(account), asked), account, asked)
    return Task.objects.for_account(account).filter(pk__in=texts.order_by().values("task"))


def with_transcript(account: Account) -> QuerySet[Task]:
    """All tasks of the account that have a transcript."""
    texts = SearchText.objects.for_account(account)
    return Task.objects.for_account(account).filter(pk__in=texts.order_by().values("task"))


def containing(texts: QuerySet[SearchText], asked: SearchQuery) -> QuerySet[SearchText]:
    """Filter texts that contain every term and none of the excluded ones, by the index if there is one."""
    if connections[texts.db].vendor == "postgresql":
        looked_into = Func("text", function="speechportal_search_text", output_field=TextField())
        for term in asked.wanted:
            texts = texts.filter(Contains(looked_into, spell(term)))
    else:
        for term in asked.wanted:
            texts = texts.filter(text__contains=spell(term))
    for term in asked.unwanted:
        texts = texts.exclude(text__contains=spell(term))
    return texts


def search(account: Account, query: str, chosen: SearchFilter = EVERYTHING) -> QuerySet[Task]:
    """Matching tasks, ranked: adjacent words first, then by frequency, then the newest."""
    tasks = matching(account, query, chosen)
    related = tasks.select_related("batch", "transcript", "correction")
    words = [spell(word) for word in SearchQuery.parse(query).wanted]
    if not words:
        return related.order_by("-pk")
    edge = next(iter(tasks.order_by("-pk").values_list("pk", flat=True)[RANKED - 1 : RANKED]), 0)
    text = "search_text__text"
    said = sum((Length(text) - Length(Replace(text, Value(word), Value("")))) / len(word) for word in words)
    together = Q(pk__gte=edge) & Q(search_text__text__contains=" ".join(words))
    ranked = related.annotate(
        together=Case(When(together, then=1), default=0, output_field=IntegerField()),
        said=Case(When(pk__gte=edge, then=said), default=0, output_field=IntegerField()),
    )
    return ranked.order_by("-together", "-said", "-pk")


def lines_of(task: Task, query: str, chosen: SearchFilter = EVERYTHING) -> Found:
    """Best lines of a task that :func:`search` returned, in order of time.

    Where the filter asks for a speaker, only that speaker's lines count.
    """
    asked = SearchQuery.parse(query).wanted
    transcript = task.transcript.published()
    correction: Correction | None = getattr(task, "correction", None)
    names = dict(correction.speaker_names) if correction else {}
    counted = []
    for line, text in corrected_lines(transcript, correction):
        if chosen.speaker and not chosen.has_spoken(names.get(line.speaker, "")):
            continue
        terms = _terms_in(text, asked)
        if terms:
            find = " ".join(asked) if " ".join(asked) in fold(text) else terms[0]
            counted.append((len(terms), Hit(line.uid, line.start, line.speaker, text, find)))
    best = max((count for count, _ in counted), default=0)
    hits = [hit for count, hit in counted if count == best][:HIT_LIMIT]
    is_named = bool(_terms_in(task.name, asked))
    return Found(task, hits, len(counted), names, is_named, transcript.language)


def _terms_in(text: str, terms: Iterable[str]) -> list[str]:
    spelt = spell(fold(text))
    return [term for term in terms if spell(term) in spelt]


def languages_of(account: Account) -> list[str]:
    """Codes of the languages that the account's transcripts are in."""
    found = SearchText.objects.for_account(account).exclude(language="").order_by("language")
    return list(found.values_list("language", flat=True).distinct())
