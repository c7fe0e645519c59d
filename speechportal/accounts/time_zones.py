"""Time zones to choose from: names of the IANA database."""

from __future__ import annotations

import zoneinfo
from functools import lru_cache

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    return frozenset(name for name in zoneinfo.available_timezones() if "/" in name or name == "UTC")


def choices() -> list[tuple[str, str]]:
    return [(name, name.replace("_", " ")) for name in sorted(names())]


def validate_time_zone(value: str) -> None:
    if value not in names():
        raise ValidationError(
            _("There is no time zone “%(name)s”. Use a name such as Asia/Seoul or UTC."),
            code="unknown_time_zone",
            params={"name": value},
        )
