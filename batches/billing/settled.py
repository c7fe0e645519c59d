"""Sums of charges: settled ones by quarters of an hour from a table, and the newest charge by charge.

Charges are immutable, and each is committed within seconds of its timestamp. A sum over charges older than an
hour is therefore final. The scheduler adds those of large accounts up (:func:`settle`), a thousand or more at
a time, and remembers until when; whoever needs a sum reads the quarters until then, and the charges from then
on. A sum never waits for the scheduler: what is not settled yet is read from the charges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import (
    Case,
    Count,
    DateTimeField,
    Func,
    IntegerField,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from batches.billing.money import MoneySum
from batches.models import Charge, SettledUsage, UsageMark
from speechportal.accounts.models import Account

QUARTER = timedelta(minutes=15)
PIECE = timedelta(days=30)  # settled in one transaction
LARGE = 1000  # charges: they are read in a few milliseconds
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
GROUPS = ("batch_name", "domain_code", "currency")


def edge(now: datetime) -> datetime:
    """Charges from before this time are settled: a full hour, one to two hours ago."""
    return (now - timedelta(hours=1)).astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class Quarter(Func):
    """The quarter of an hour in which a time lies."""

    output_field = DateTimeField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "date_bin('15 minutes', %(expressions)s, '1970-01-01 00:00:00+00')"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        seconds = "CAST(strftime('%%%%s', %(expressions)s) AS INTEGER)"
        template = f"datetime({seconds} / 900 * 900, 'unixepoch')"
        return self.as_sql(compiler, connection, template=template, **context)


@dataclass(frozen=True)
class Sources:
    """Rows whose sums are those of a period's charges: settled quarters, and single charges."""

    quarters: QuerySet[SettledUsage]
    charges: QuerySet[Charge]

    def sums(self, period: Case | Func, *fields: str) -> Iterable[dict[str, Any]]:
        """Files, duration and amount by ``period`` and fields; a group may come from each of the two.

        ``batch__uid`` may be among the fields.
        """
        parts: list[tuple[QuerySet[Any], Sum | Count, list[str]]] = [
            (self.quarters, Sum("files"), [name.replace("__", "_") for name in fields]),
            (self.charges, Count("pk"), list(fields)),
        ]
        for rows, files, columns in parts:
            found = rows.order_by().annotate(period=period).values_list("period", *columns)
            sums = found.annotate(
                sum_files=files, sum_duration=Sum("media_duration"), sum_amount=MoneySum("amount")
            )
            for row in sums:
                yield dict(zip(("period", *fields, "files", "duration", "amount"), row, strict=True))


def until(account: Account) -> datetime:
    """The time until which the account's charges are settled."""
    found = UsageMark.objects.for_account(account).values_list("until", flat=True).first()
    return found or LONG_AGO


def sources(account: Account, start: datetime, end: datetime) -> Sources:
    """What the charges from ``start`` to ``end`` (exclusive) are summed up from."""
    last = min(until(account), _floor(end))
    quarters = SettledUsage.objects.for_account(account).filter(created_at__gte=start, created_at__lt=last)
    charges = Charge.objects.for_account(account)
    if last <= start or _floor(start) != start:
        return Sources(quarters.none(), charges.filter(created_at__gte=start, created_at__lt=end))
    return Sources(quarters, charges.filter(created_at__gte=last, created_at__lt=end))


def _floor(moment: datetime) -> datetime:
    """The beginning of the quarter of an hour."""
    return moment - (moment - LONG_AGO) % QUARTER


def period_of(starts: Sequence[datetime]) -> Case:
    """Expression for the number, from 0 on, of the period in which a charge was made.

    ``starts`` are the beginnings of the periods, the earliest first. Comparisons are faster than truncating
    dates, for which SQLite calls a Python function per row.
    """
    numbered: list[Any] = [
        When(created_at__gte=start, then=Value(number)) for number, start in enumerate(starts)
    ]
    return Case(*reversed(numbered), output_field=IntegerField())


def settle(seconds: float = 10.0) -> int:
    """Settle the charges of large accounts, for ``seconds`` at most; returns how many pieces were added up.

    An account is large if it has ``LARGE`` charges of the latest month to settle. The charges of others are
    read as quickly as their quarters of an hour would be.
    """
    now, begun = timezone.now(), timezone.now()
    end = edge(now)
    marked = Coalesce(OuterRef("usage_mark__until"), Value(LONG_AGO), output_field=DateTimeField())
    lately = Charge.unscoped.filter(
        account=OuterRef("pk"), created_at__gte=Greatest(marked, Value(now - PIECE)), created_at__lt=end
    )
    many = Subquery(lately.order_by("created_at").values("pk")[LARGE - 1 : LARGE])
    pieces = 0
    for account in Account.objects.annotate(many=many).filter(many__isnull=False).order_by("pk"):
        while _settle_piece(account, end):
            pieces += 1
            if timezone.now() - begun > timedelta(seconds=seconds):
                return pieces
    return pieces


def _settle_piece(account: Account, end: datetime) -> bool:
    """Add up the account's next charges before ``end``, of a month at most; False if there are none."""
    with transaction.atomic():
        UsageMark.unscoped.get_or_create(account=account, defaults={"until": LONG_AGO})
        mark = UsageMark.unscoped.select_for_update().get(account=account)
        rest = Charge.unscoped.filter(account=account, created_at__gte=mark.until, created_at__lt=end)
        first = rest.aggregate(first=Min("created_at"))["first"]
        if first is None:
            return False
        start = max(_floor(first), mark.until)
        stop = min(start + PIECE, end)
        if mark.until == LONG_AGO:
            SettledUsage.unscoped.filter(account=account).delete()  # of a mark that a trigger has deleted
        rows = Sources(SettledUsage.unscoped.none(), rest.filter(created_at__lt=stop))
        SettledUsage.unscoped.bulk_create(
            SettledUsage(
                account=account,
                created_at=row["period"],
                batch_uid=row["batch__uid"],
                files=row["files"],
                media_duration=row["duration"],
                amount=row["amount"],
                **{name: row[name] for name in GROUPS},
            )
            for row in rows.sums(Quarter("created_at"), "batch__uid", *GROUPS)
        )
        UsageMark.unscoped.filter(account=account).update(until=stop)
    return True


def of_currency() -> Q:
    """Condition on sums or charges in a subquery of accounts: in the account's currency."""
    return Q(account=OuterRef("pk"), currency=OuterRef("currency"))
