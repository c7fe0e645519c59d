"""Times, durations and amounts as every page shows them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import template
from django.utils import formats, timezone
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

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
def minutes(milliseconds: int | None) -> str:
    """``125000`` as ``2``: whole minutes of media, grouped; less than one is told as ``<1``."""
    if not milliseconds:
        return "0"
    return (
        formats.number_format(milliseconds // 60_000, force_grouping=True) if milliseconds >= 60_000 else "<1"
    )


@register.filter
def roughly(seconds: int) -> str:
    """``5400`` as ``1 h 30 min``, ``90`` as ``2 min``: how long something takes, as nobody knows exactly."""
    total = max(1, round(seconds / 60))
    hours, rest = divmod(total, 60)
    if hours >= 10:
        return _("%(hours)d h") % {"hours": round(total / 60)}
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": rest}
    return _("%(minutes)d min") % {"minutes": total}


@register.inclusion_tag("includes/sort_link.html", takes_context=True)
def sort_link(context: template.Context, name: str, label: str) -> dict[str, Any]:
    """A column's heading that sorts by it: up, down, and back to the list's own order."""
    request, sort = context["request"], str(context.get("sort", ""))
    query = request.GET.copy()
    query.pop("page", None)
    following = {name: f"-{name}", f"-{name}": ""}.get(sort, name)
    query["sort"] = following
    if not following:
        del query["sort"]
    direction = {name: "ascending", f"-{name}": "descending"}.get(sort, "")
    return {"label": label, "address": f"?{query.urlencode()}", "direction": direction, "name": name}


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
