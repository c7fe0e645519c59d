"""Parser of keyword lists: one keyword a line, or several separated by commas."""

from __future__ import annotations

import unicodedata

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from domains.models import KEYWORD_LENGTH, KEYWORD_LIMIT

SHOWN_ERRORS = 10


def parse_keywords(text: str) -> list[str]:
    """Parse keywords: in order, without duplicates (regardless of case), in NFC.

    Raises ``ValidationError`` with a sentence for each line with an invalid keyword.
    """
    found: dict[str, str] = {}
    errors: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        for entry in line.split(","):
            keyword = " ".join(unicodedata.normalize("NFC", entry).split())
            if problem := _problem(keyword):
                errors.append(_("Line %(number)d: %(problem)s") % {"number": number, "problem": problem})
            elif keyword:
                found.setdefault(keyword.lower(), keyword)
    return _unless_wrong(found, errors)


def check_keywords(keywords: list[str]) -> list[str]:
    """Like :func:`parse_keywords`, for a list; commas separate keywords there too.

    Raises ``ValidationError`` for the field ``keywords``.
    """
    try:
        return parse_keywords("\n".join(" ".join(keyword.split()) for keyword in keywords))
    except ValidationError as error:
        raise ValidationError({"keywords": error}) from error


def _unless_wrong(found: dict[str, str], errors: list[str]) -> list[str]:
    if len(found) > KEYWORD_LIMIT:
        errors.insert(
            0,
            _("There are %(count)d keywords; a domain takes at most %(limit)d.")
            % {"count": len(found), "limit": KEYWORD_LIMIT},
        )
    if len(errors) > SHOWN_ERRORS:
        rest = len(errors) - SHOWN_ERRORS
        errors = [*errors[:SHOWN_ERRORS], _("… and %d more like these.") % rest]
    if errors:
        raise ValidationError(errors)
    return list(found.values())


def _problem(keyword: str) -> str:
    if len(keyword) > KEYWORD_LENGTH:
        return _("“%(start)s…” has %(count)d characters; a keyword has at most %(limit)d.") % {
            "start": keyword[:20],
            "count": len(keyword),
            "limit": KEYWORD_LENGTH,
        }
    if any(unicodedata.category(letter) == "Cc" for letter in keyword):
        return _("a control character cannot be part of a keyword.")
    return ""
