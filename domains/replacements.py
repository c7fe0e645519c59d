"""Replacements of a domain: recognised text, and the text to write instead.

In text form there is one per line, ``heard => written``. A regular expression is between slashes, and a
language in brackets restricts the line to it::

    네이버 클로버 => 네이버 클로바
    /order (\\d+) (\\d+)/ => order \\1\\2
    [en] speech portal => Speech Portal
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import re2
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

REPLACEMENT_LIMIT = 1000
TEXT_LENGTH = 200
SHOWN_ERRORS = 10
ARROW = "=>"
_LANGUAGE = re.compile(r"\[([A-Za-z-]{2,8})\]")


@dataclass(frozen=True, slots=True)
class Replacement:
    """Replacement: one row of a domain's table. ``language`` is Whisper's code; empty: any language."""

    heard: str
    written: str
    is_pattern: bool = False
    language: str = ""

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            heard=str(row["heard"]),
            written=str(row.get("written", "")),
            is_pattern=bool(row.get("is_pattern", False)),
            language=str(row.get("language", "")),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        heard = f"/{self.heard}/" if self.is_pattern else self.heard
        return f"{f'[{self.language}] ' if self.language else ''}{heard} {ARROW} {self.written}"


def as_text(replacements: Iterable[Replacement]) -> str:
    return "".join(f"{replacement}\n" for replacement in replacements)


def parse_replacements(text: str) -> list[Replacement]:
    """Parse replacements from text, or from CSV.

    Text has one replacement per line; CSV has the columns heard, written, pattern (empty or "yes") and
    language. Raises ``ValidationError`` with a sentence for each invalid line.
    """
    lines = text.splitlines()
    given = [line for line in lines if line.strip()]
    if given and not any(ARROW in line for line in given):
        return check_replacements(_from_csv(text))
    rows: list[Replacement | str] = []
    for line in lines:
        if not line.strip():
            continue
        before, arrow, written = line.partition(ARROW)
        if not arrow:
            rows.append(_("write it as “heard => written”."))
            continue
        heard = before.strip()
        language = _LANGUAGE.match(heard)
        heard = heard[language.end() :].strip() if language else heard
        is_pattern = len(heard) > 2 and heard.startswith("/") and heard.endswith("/")
        heard = heard[1:-1] if is_pattern else heard
        code = language[1].lower() if language else ""
        rows.append(Replacement(heard, written.strip(), is_pattern, code))
    return check_replacements(rows)


def _from_csv(text: str) -> list[Replacement | str]:
    rows: list[Replacement | str] = []
    for row in csv.reader(io.StringIO(text.removeprefix("\ufeff"))):
        cells = [cell.strip() for cell in row]
        if not any(cells) or [cell.lower() for cell in cells[:2]] == ["heard", "written"]:
            continue
        if len(cells) < 2:
            rows.append(_("write it as “heard => written”."))
            continue
        is_pattern = len(cells) > 2 and cells[2].lower() in {"yes", "true", "1", "pattern"}
        rows.append(Replacement(cells[0], cells[1], is_pattern, cells[3].lower() if len(cells) > 3 else ""))
    return rows


def check_replacements(rows: Sequence[Replacement | str]) -> list[Replacement]:
    """Validate replacements and normalise them to NFC. A string among the rows is the error of its line.

    Raises ``ValidationError`` with a sentence for each invalid line.
    """
    found: list[Replacement] = []
    errors: list[str] = []
    for number, row in enumerate(rows, start=1):
        clean = row if isinstance(row, str) else _clean(row)
        if problem := clean if isinstance(clean, str) else _problem(clean):
            errors.append(_("Line %(number)d: %(problem)s") % {"number": number, "problem": problem})
        elif not isinstance(clean, str):
            found.append(clean)
    if len(found) > REPLACEMENT_LIMIT:
        errors.insert(
            0,
            _("There are %(count)d replacements; a domain takes at most %(limit)d.")
            % {"count": len(found), "limit": REPLACEMENT_LIMIT},
        )
    if len(errors) > SHOWN_ERRORS:
        rest = len(errors) - SHOWN_ERRORS
        errors = [*errors[:SHOWN_ERRORS], _("… and %d more like these.") % rest]
    if errors:
        raise ValidationError({"replacements": errors})
    return found


def _clean(row: Replacement) -> Replacement:
    heard = unicodedata.normalize("NFC", row.heard)
    heard = heard if row.is_pattern else " ".join(heard.split())
    written = " ".join(unicodedata.normalize("NFC", row.written).split())
    return Replacement(heard, written, row.is_pattern, row.language)


def _problem(row: Replacement) -> str:
    if not row.heard:
        return _("it does not say what is heard.")
    if len(row.heard) > TEXT_LENGTH or len(row.written) > TEXT_LENGTH:
        return _("each side has at most %d characters.") % TEXT_LENGTH
    if any(unicodedata.category(letter) == "Cc" for letter in row.heard + row.written):
        return _("a control character cannot be part of a replacement.")
    if row.language and not (row.language.isalpha() and len(row.language) in {2, 3}):
        return _("“%s” is no code of a language, such as ko or en.") % row.language
    return _pattern_problem(row) if row.is_pattern else ""


def _pattern_problem(row: Replacement) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        expression = re2.compile(row.heard, options)
    except re2.error as error:
        return _("the pattern cannot be used: %s.") % _message(error)
    if expression.search("") is not None:
        return _("the pattern matches an empty text.")
    groups = [int(number) for number in re.findall(r"\\([1-9])", row.written)]
    if groups and max(groups) > expression.groups:
        return _("the pattern has no group %d.") % max(groups)
    return ""


def _message(error: Exception) -> str:
    message = error.args[0] if error.args else ""
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message)
