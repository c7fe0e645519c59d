"""Template filters for times, durations and amounts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms, template
from django.utils import formats, timezone
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from speechportal.platform import maintenance
from speechportal.platform.versioned_forms import FieldConflict, VersionedForm

register = template.Library()
TIME = "Y-m-d H:i"
EXACT = "Y-m-d H:i:s T"


@register.simple_tag
def maintenance_notice() -> maintenance.Notice:
    """Notice that recognition is paused; its ``since`` is None while it runs."""
    return maintenance.notice()


@register.simple_tag
def moment(value: datetime | None) -> SafeString | str:
    """Format a time in the member's time zone, to the minute; exact in its tooltip."""
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
    """Format milliseconds: ``3723000`` as ``1:02:03``, ``5000`` as ``0:05``."""
    if milliseconds is None:
        return "–"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@register.filter
def minutes(milliseconds: int | None) -> str:
    """Format milliseconds as whole minutes: ``125000`` as ``2``; less than one as ``<1``."""
    if not milliseconds:
        return "0"
    return (
        formats.number_format(milliseconds // 60_000, force_grouping=True) if milliseconds >= 60_000 else "<1"
    )


@register.filter
def media_time(milliseconds: int | None) -> str:
    """Format a media duration in whole minutes: ``125000`` as ``2 min``, ``37395000`` as ``10 h 23 min``."""
    if not milliseconds:
        return _("%(minutes)d min") % {"minutes": 0}
    hours, rest = divmod(milliseconds // 60_000, 60)
    if not hours:
        return _("%(minutes)d min") % {"minutes": rest} if rest else _("<1 min")
    shown = formats.number_format(hours, force_grouping=True)
    return _("%(hours)s h %(minutes)d min") % {"hours": shown, "minutes": rest}


@register.filter
def roughly(seconds: int) -> str:
    """Format seconds as a rough duration: ``5400`` as ``1 h 30 min``, ``90`` as ``2 min``."""
    total = max(1, round(seconds / 60))
    hours, rest = divmod(total, 60)
    if hours >= 10:
        return _("%(hours)d h") % {"hours": round(total / 60)}
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": rest}
    return _("%(minutes)d min") % {"minutes": total}


@register.inclusion_tag("includes/sort_column.html", takes_context=True)
def sort_column(context: template.Context, name: str, label: str, css: str = "") -> dict[str, Any]:
    """Heading cell of a sortable column, whose link cycles ascending, descending and default order."""
    request, sort = context["request"], str(context.get("sort", ""))
    query = request.GET.copy()
    query.pop("page", None)
    query.pop("before", None)
    query.pop("after", None)
    following = {name: f"-{name}", f"-{name}": ""}.get(sort, name)
    query["sort"] = following
    if not following:
        del query["sort"]
    direction = {name: "ascending", f"-{name}": "descending"}.get(sort, "")
    return {
        "label": label,
        "address": f"?{query.urlencode()}",
        "direction": direction,
        "name": name,
        "css": css,
    }


@register.filter
def money(amount: Decimal, currency: str) -> str:
    """Format an amount: ``0.1000`` as ``0.10 USD``, with at least two decimal places."""
    digits = max(2, -int(amount.normalize().as_tuple().exponent)) if amount else 2
    return f"{formats.number_format(amount, digits, force_grouping=True)} {currency}"


@register.filter
def path(key: str) -> SafeString:
    """Format a path from the connection's root, with line breaks allowed after slashes."""
    folders = ((part,) for part in f"/{key}".split("/")[:-1])
    return format_html_join("", "{}/\u200b", folders) + conditional_escape(key.rpartition("/")[2])


@register.filter
def conflict(field: forms.BoundField) -> FieldConflict | None:
    """Conflict of a form's field that somebody else changed meanwhile: both values, if any."""
    return field.form.conflicts.get(field.name) if isinstance(field.form, VersionedForm) else None


@register.filter
def split(text: str) -> list[str]:
    """Split ``"a b"`` into a list, for loops in a template."""
    return text.split()
