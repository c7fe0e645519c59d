"""Search filter: restricts a search to some of an account's transcripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Self

from django.db.models import Q, QuerySet

from batches.models import SearchText
from batches.services.task_filters import day_of
from batches.transcripts.search_query import SearchQuery, fold, spell
from domains.models import Domain
from speechportal.accounts.models import Account

# Separates a speaker's name from the text; ``fold`` removes it as white space, so neither contains it.
SEPARATOR = "\x1f"


def spoken_line(name: str, text: str) -> str:
    """Search index entry of a transcript line, with its speaker."""
    return f"{spell(fold(name))}{SEPARATOR}{spell(fold(text))}"


def _said_by(speaker: str, term: str) -> str:
    """Regular expression for a speaker's line with the term, in the syntax of SQLite and PostgreSQL."""
    name = f"[^\n{SEPARATOR}]*"
    return f"(^|\n){name}{re.escape(speaker)}{name}{SEPARATOR}[^\n]*{re.escape(term)}"


@dataclass(frozen=True)
class SearchFilter:
    """Conditions on transcripts; empty ones do not filter.

    ``batch`` and ``domain`` are IDs, ``speaker`` is part of a name given by a member, ``language`` is the
    code of the recognised language. The days on which tasks ended are inclusive, in the current time zone.
    """

    batch: str = ""
    domain: str = ""
    speaker: str = ""
    language: str = ""
    since: date | None = None
    until: date | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """Parse the query parameters of a page's URL. Invalid dates are ignored."""
        texts = {
            name: query.get(name, "").replace("\0", "").strip()
            for name in ("batch", "domain", "speaker", "language")
        }
        return cls(**texts, since=day_of(query.get("since", "")), until=day_of(query.get("until", "")))

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, field.name) in ("", None) for field in fields(self))

    def apply(
        self, texts: QuerySet[SearchText], account: Account, asked: SearchQuery
    ) -> QuerySet[SearchText]:
        """Narrow the account's search index to the transcripts that match.

        If the filter names a speaker, that speaker's own lines must contain the terms of the query.
        """
        found = Q()
        if self.batch:
            found &= Q(task__batch__uid=self.batch)
        if self.domain:
            found &= self._of_domain(account)
        if self.language:
            found &= Q(language=self.language)
        if speaker := spell(fold(self.speaker)):
            for term in asked.wanted or ("",):
                found &= Q(spoken__regex=_said_by(speaker, spell(term)))
        if self.since:
            found &= Q(task__finished_at__date__gte=self.since)
        if self.until:
            found &= Q(task__finished_at__date__lte=self.until)
        return texts.filter(found)

    def _of_domain(self, account: Account) -> Q:
        """Transcripts recognised with the domain, or of a batch with it now (a deleted batch has none)."""
        codes = Domain.objects.for_account(account).filter(uid=self.domain).values("code")
        return Q(domain_code__in=codes) | Q(task__batch__domain__uid=self.domain)

    def has_spoken(self, name: str) -> bool:
        """Whether a speaker's name matches the filter."""
        return fold(self.speaker) in fold(name)
