"""Full-text search of an account's transcripts by words, phrases and file names.

Each transcript has one row in the search index, normalised as queries are
(:mod:`batches.transcripts.search_query`): the file name in the first line, then the lines of the transcript.
A row matches if it contains all terms of the query, also as substrings of words: Korean attaches particles to
nouns without a space, so whole-word search would miss most hits. PostgreSQL uses a trigram index
(migration 0002); SQLite scans the account's rows.

For a term that is in most transcripts an index does not help, since each text would be read. The newest
transcripts are then scanned one after another until enough match; a sample decides which plan is faster.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import Case, Func, OuterRef, Q, QuerySet, Subquery, TextField, Value, When
from django.db.models.lookups import Contains

from batches.formats.lines import Line, recognised_text
from batches.formats.lines import lines_of as edited_lines
from batches.models import Correction, SearchText, StoredTranscript, Task
from batches.recognition.transcript import Transcript
from batches.transcripts.search_filter import SearchFilter, spoken_line
from batches.transcripts.search_query import SearchQuery, fold, spell
from speechportal.accounts.models import Account

HIT_LIMIT = 5  # lines shown per transcript
MOST_FOUND = 200  # newest matches that are ranked; ranking reads the text of each
SAMPLE = 60  # transcripts read to estimate the frequency of the terms
FREQUENT = 12  # matches in the sample from which the search scans instead of using the index
EVERYTHING = SearchFilter()


@dataclass(frozen=True)
class Hit:
    """Line that contains terms of the query."""

    uid: str  # of the line
    start: int  # ms
    speaker: str  # label
    text: str  # as corrected
    find: str  # matched text as spelt in the line, for the search field of the transcript's page


@dataclass(frozen=True)
class Found:
    """Search result of one file: the number of lines with terms of the query, and the best of them."""

    task: Task
    hits: list[Hit]
    count: int  # lines
    speaker_names: dict[str, str]
    is_named: bool = False  # whether the file name contains terms of the query
    language: str = ""

    @property
    def more(self) -> int:
        """Number of matching lines that are not shown."""
        return self.count - len(self.hits)


def index(task: Task, transcript: Transcript, correction: Correction | None = None) -> None:
    """Write the search index row of a transcript, as corrected."""
    lines = corrected_lines(transcript, correction)
    names = correction.speaker_names if correction else {}
    spoken = [(names[line.speaker], text) for line, text in lines if names.get(line.speaker)]
    columns = {
        "account_id": task.account_id,
        "batch_id": task.batch_id,
        "text": "\n".join(spell(fold(text)) for text in [task.name, *(text for _line, text in lines)]),
        "language": transcript.language[:20],
        "domain_code": task.settings.domain if task.settings else "",
        "spoken": "\n".join(spoken_line(name, text) for name, text in spoken),
        "lines": [[line.uid, line.start, line.speaker, text] for line, text in lines],
        "speakers": len({line.speaker for line, _text in lines if line.speaker}),
        "flags": _listed(transcript.all_flags),
    }
    SearchText.unscoped.update_or_create(task=task, defaults=columns)


def _listed(flags: list[str]) -> str:
    """Flags as stored in the column; those that do not fit are left out."""
    kept = ","
    for flag in flags:
        if len(kept) + len(flag) < 200:
            kept += f"{flag},"
    return kept if flags else ""


def index_older(limit: int = 50) -> int:
    """Complete index rows written by an earlier release; returns how many."""
    older = (
        SearchText.unscoped.filter(Q(lines__isnull=True) | Q(batch=None), task__transcript__isnull=False)
        .order_by("-pk")
        .defer("text", "spoken")
    )
    rows = list(older.select_related("task__transcript", "task__correction")[:limit])
    for row in rows:
        index(row.task, row.task.transcript.published(), getattr(row.task, "correction", None))
    return len(rows)


def corrected_lines(transcript: Transcript, correction: Correction | None) -> list[tuple[Line, str]]:
    """Lines as split and merged by members, each with its corrected text."""
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

    Without a query and a filter the result is empty.
    """
    asked = SearchQuery.parse(query)
    if asked.is_empty and (query.strip() or chosen.is_empty):
        return Task.objects.for_account(account).none()
    texts = chosen.apply(SearchText.objects.for_account(account), account, asked)
    if connections[texts.db].vendor == "postgresql" and asked.wanted and _is_frequent(texts, asked):
        # A scalar subquery is evaluated task by task, in the requested order, up to the limit of the query.
        found = _holds(texts.filter(task=OuterRef("pk")), asked).values("pk")
        return Task.objects.for_account(account).annotate(found=Subquery(found)).filter(found__isnull=False)
    texts = containing(texts, asked)
    return Task.objects.for_account(account).filter(pk__in=texts.order_by().values("task"))


def _is_frequent(texts: QuerySet[SearchText], asked: SearchQuery) -> bool:
    """Whether many of the newest texts contain all terms.

    Compared in Python, since PostgreSQL would compare all texts before sorting them by age.
    """
    newest = list(texts.order_by("-task_id").values_list("pk", flat=True)[:SAMPLE])
    words = [spell(term) for term in asked.wanted]
    read = SearchText.unscoped.filter(pk__in=newest).values_list("text", flat=True)
    return sum(all(word in text for word in words) for text in read) >= FREQUENT


def with_transcript(account: Account) -> QuerySet[Task]:
    """All tasks of the account that have a transcript."""
    texts = SearchText.objects.for_account(account)
    return Task.objects.for_account(account).filter(pk__in=texts.order_by().values("task"))


def containing(texts: QuerySet[SearchText], asked: SearchQuery) -> QuerySet[SearchText]:
    """Filter texts that contain every term and no excluded one, using the index if there is one."""
    if connections[texts.db].vendor != "postgresql":
        return _holds(texts, asked)
    looked_into = Func("text", function="speechportal_search_text", output_field=TextField())
    for term in asked.wanted:
        texts = texts.filter(Contains(looked_into, spell(term)))
    return _holds(texts, SearchQuery(unwanted=asked.unwanted))


def _holds(texts: QuerySet[SearchText], asked: SearchQuery) -> QuerySet[SearchText]:
    """Filter texts that contain every term and no excluded one, by a scan."""
    for term in asked.wanted:
        texts = texts.filter(text__contains=spell(term))
    for term in asked.unwanted:
        texts = texts.exclude(text__contains=spell(term))
    return texts


def search(account: Account, query: str, chosen: SearchFilter = EVERYTHING) -> QuerySet[Task]:
    """The newest ``MOST_FOUND`` matches, ranked by adjacency of the terms, then frequency, then age.

    Without terms: everything that the filter matches, newest first.
    """
    tasks = matching(account, query, chosen)
    related = shown_rows(Task.objects.for_account(account))
    words = [spell(word) for word in SearchQuery.parse(query).wanted]
    if not words:
        return related.filter(pk__in=tasks.order_by().values("pk")).order_by("-pk")
    newest = list(tasks.order_by("-pk").values_list("pk", flat=True)[:MOST_FOUND])
    texts = SearchText.objects.for_account(account).filter(task__in=newest).values_list("task", "text")
    rank = {key: (" ".join(words) in text, sum(map(text.count, words)), key) for key, text in texts}
    ranked = sorted(rank, key=rank.__getitem__, reverse=True)
    place = Case(*(When(pk=key, then=Value(number)) for number, key in enumerate(ranked)), default=Value(0))
    return related.filter(pk__in=ranked).order_by(place)


def shown_rows(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Tasks with the related rows that :func:`lines_of` reads."""
    related = tasks.select_related("batch", "search_text", "correction")
    return related.defer("search_text__spoken", "correction__lines", "correction__history")


def lines_of(task: Task, query: str, chosen: SearchFilter = EVERYTHING) -> Found:
    """Best lines of a task that :func:`search` returned, in order of time.

    If the filter names a speaker, only that speaker's lines count.
    """
    asked = SearchQuery.parse(query).wanted
    row: SearchText = task.search_text
    correction: Correction | None = getattr(task, "correction", None)
    names = dict(correction.speaker_names) if correction else {}
    terms, together = {term: spell(term) for term in asked}, spell(" ".join(asked))
    name, *texts = row.text.split("\n")
    counted = []
    for spelt, (uid, start, speaker, text) in zip(texts, _lines(task, row), strict=True):
        found = [term for term, letters in terms.items() if letters in spelt]
        if not found or (chosen.speaker and not chosen.has_spoken(names.get(speaker, ""))):
            continue
        find = " ".join(asked) if together in spelt else found[0]
        counted.append((len(found), Hit(uid, start, speaker, text, find)))
    best = max((count for count, _ in counted), default=0)
    hits = [hit for count, hit in counted if count == best][:HIT_LIMIT]
    is_named = any(letters in name for letters in terms.values())
    return Found(task, hits, len(counted), names, is_named, row.language)


def _lines(task: Task, row: SearchText) -> Iterable[tuple[str, int, str, str]]:
    """ID, start, speaker's label and text of each line, in the order of the index.

    Read from the transcript if an earlier release wrote the row.
    """
    if row.lines is not None:
        return ((uid, start, speaker, text) for uid, start, speaker, text in row.lines)
    found = corrected_lines(task.transcript.published(), getattr(task, "correction", None))
    return ((line.uid, line.start, line.speaker, text) for line, text in found)


LANGUAGES = """
    WITH RECURSIVE found(language) AS (
        SELECT (SELECT min(language) FROM batches_searchtext WHERE account_id = %s AND language > '')
        UNION ALL
        SELECT (
            SELECT min(language) FROM batches_searchtext
            WHERE account_id = %s AND language > found.language
        ) FROM found WHERE found.language IS NOT NULL
    )
    SELECT language FROM found WHERE language IS NOT NULL
"""


def languages_of(account: Account) -> list[str]:
    """Language codes of the account's transcripts.

    Each is looked up in the index after the one before, since ``DISTINCT`` would read all transcripts.
    """
    with connections[SearchText.objects.db].cursor() as cursor:
        cursor.execute(LANGUAGES, [account.pk, account.pk])
        return [language for (language,) in cursor.fetchall()]
