"""Search in the help pages: every word of the query must occur in a section; headings count more."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from speechportal.help import pages, rendering

MAX_RESULTS = 30
MAX_WORDS = 8
_SNIPPET = 200  # Characters shown of a section.


@dataclass(frozen=True)
class Result:
    slug: str
    anchor: str
    page_title: str
    title: SafeString
    snippet: SafeString
    score: int


def search(query: str, language: str) -> list[Result]:
    """Sections that match ``query``, best first; empty for an empty query."""
    words = [word.casefold() for word in query.split()][:MAX_WORDS]
    if not words:
        return []
    found = [result for slug in pages.slugs() for result in _in_page(slug, language, words)]
    return sorted(found, key=lambda result: -result.score)[:MAX_RESULTS]


def _in_page(slug: str, language: str, words: list[str]) -> list[Result]:
    document = rendering.render(pages.page(slug, language))
    results = []
    for section in document.sections:
        title, text = section.title.casefold(), section.text.casefold()
        if not all(word in title or word in text for word in words):
            continue
        score = sum(20 * (word in title) + min(text.count(word), 5) for word in words)
        score += 10 if section.level == 1 and any(word in title for word in words) else 0
        anchor = "" if section.level == 1 else section.anchor
        results.append(
            Result(
                slug=slug,
                anchor=anchor,
                page_title=document.title,
                title=highlighted(section.title, words),
                snippet=highlighted(_snippet(section.text, words), words),
                score=score,
            )
        )
    return results


def _snippet(text: str, words: list[str]) -> str:
    """Excerpt of the text around the first word found."""
    flat = " ".join(text.split())
    lower = flat.casefold()
    places = [place for word in words if (place := lower.find(word)) >= 0]
    start = max(0, min(places, default=0) - 60)
    if start:
        start = flat.find(" ", start) + 1
    part = flat[start : start + _SNIPPET]
    if start + _SNIPPET < len(flat):
        part = f"{part.rpartition(' ')[0] or part} …"
    return f"… {part}" if start else part


def highlighted(text: str, words: list[str]) -> SafeString:
    """Mark the words with ``<mark>``; everything else is escaped."""
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    parts = re.split(f"({pattern})", text, flags=re.IGNORECASE)
    pieces = (format_html("<mark>{}</mark>" if index % 2 else "{}", part) for index, part in enumerate(parts))
    return format_html_join("", "{}", ((piece,) for piece in pieces))
