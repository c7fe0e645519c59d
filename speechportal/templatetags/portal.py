"""Times, durations and amounts as every page shows them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django import template
from django.utils import formats, timezone
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()
TIME = "Y-m-d H:i"
EXACT = "Y-m-d H:i:s T"


@register.simple_tag
def moment(value: datetime | None) -> SafeString | str:
    """A point in time in the member's zone, to the minute; exact in its tooltip."""
    if value is None:
        return "–"
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.isoformat(timespec="seconds"),
        formats.date_format(local, EXACT),
        formats.date_format(local, TIME),
    )


@register.filter
def duration(milliseconds: int | None) -> str:
    """``3723000`` as ``1:02:03``, ``5000`` as ``0:05``."""
    if milliseconds is None:
        return "–"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@register.filter
def money(amount: Decimal, currency: str) -> str:
    """``0.1000`` as ``0.10 USD``: two digits behind the point, more where there are more."""
    digits = max(2, -int(amount.normalize().as_tuple().exponent)) if amount else 2
    return f"{formats.number_format(amount, digits, force_grouping=True)} {currency}"


@register.filter
def path(key: str) -> SafeString:
    """A path from the connection's root, that breaks after slashes where it must."""
    folders = ((part,) for part in f"/{key}".split("/")[:-1])
    return format_html_join("", "{}/\u200b", folders) + conditional_escape(key.rpartition("/")[2])


@register.filter
def split(text: str) -> list[str]:
    """``"a b"`` as a list, to loop over a few words in a template."""
    return text.split()
