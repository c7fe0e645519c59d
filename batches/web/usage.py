"""Pages of usage: charges month by month, and their CSV export."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo

from django.db.models import QuerySet
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.billing import selectors, usage
from batches.models import Adjustment, Charge
from speechportal.accounts.access import member_required
from speechportal.accounts.models import Account
from speechportal.accounts.requests import PortalRequest
from speechportal.platform.http import csv_download, neutral

PAGE_SIZE = 100


def _month(text: str, account: Account) -> datetime | None:
    """Start of a month such as ``2026-11``, in the account's time zone."""
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=account.zone)
    except ValueError:
        return None


@member_required
def usage_page(request: PortalRequest) -> HttpResponseBase:
    months = selectors.charges_by_month(request.account)
    month = _month(request.GET.get("month", ""), request.account) or (months[0]["month"] if months else None)
    context: dict[str, object] = {
        "months": months,
        "month": month,
        "budget": usage.budget_state(request.account),
    }
    if month is not None:
        charges = selectors.charges_in(request.account, month)
        corrections = usage.corrections_in(request.account, month)
        rows = usage.month_rows(request.account, month)
        totals = [row for row in months if row["month"] == month]
        pages = selectors.ChargePages(charges, PAGE_SIZE, sum(row["files"] for row in totals))
        context |= {
            "page": pages.get_page(request.GET.get("page")),
            "totals": totals,
            "corrections": corrections,
            "corrected": usage.corrected_totals(corrections),
            "charts": list(zip(("duration", "amount"), usage.daily_charts(rows, month), strict=True)),
            "by_batch": usage.charges_by(rows, "batch__uid", "batch_name"),
            "by_domain": usage.charges_by(rows, "domain_code"),
        }
    with timezone.override(request.account.zone):  # Elsewhere pages show the member's own time zone.
        return render(request, "usage/list.html", context)


@member_required
def usage_export(request: PortalRequest, month: str) -> HttpResponseBase:
    """The month's charges as CSV."""
    start = _month(month, request.account)
    if start is None:
        raise Http404
    charges = selectors.charges_in(request.account, start)
    corrections = usage.corrections_in(request.account, start)
    rows = _rows(_header(), charges, corrections, request.account.zone)
    return csv_download(rows, f"charges-{start:%Y-%m}.csv")


def _header() -> list[str]:
    return [
        _("Charge ID"),
        _("Charged at"),
        _("Batch ID"),
        _("Batch name"),
        _("Domain code"),
        _("Task ID"),
        _("Input file name"),
        _("Media duration (s)"),
        _("Amount"),
        _("Currency"),
    ]


def _rows(
    header: list[str], charges: QuerySet[Charge], corrections: QuerySet[Adjustment], zone: tzinfo
) -> Iterator[list[object]]:
    """Rows of charges and of their adjustments, so that the amounts add up to the net amount."""
    yield [*header]
    for charge in charges.iterator(chunk_size=1000):
        yield _row(charge, charge, zone)
    for correction in corrections.iterator(chunk_size=1000):
        yield _row(correction.charge, correction, zone)


def _row(charge: Charge, entry: Charge | Adjustment, zone: tzinfo) -> list[object]:
    """CSV row of a charge, or of its adjustment, which has no duration."""
    return [
        entry.uid,
        timezone.localtime(entry.created_at, zone).isoformat(timespec="seconds"),
        charge.batch.uid,
        neutral(charge.batch_name),
        neutral(charge.domain_code),
        charge.task.uid,
        neutral(charge.input_name),
        f"{charge.media_duration / 1000:.1f}" if entry is charge else "0.0",
        entry.amount,
        entry.currency,
    ]
