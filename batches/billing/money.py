"""Exact sums of money. SQLite keeps decimals as floating-point numbers, so their plain sum has an error."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db.models import DecimalField, Sum

PLACES = Decimal("0.0001")  # of every amount
UNITS = 10_000


class Total(DecimalField[Any, Any]):
    """Output field of a sum: SQLite returns an integer of ten-thousandths, PostgreSQL a decimal."""

    def get_internal_type(self) -> str:
        return "Total"  # Avoids Django's conversion for SQLite, by floating-point numbers.

    def from_db_value(self, value: Any, _expression: object, connection: Any) -> Decimal | None:
        if value is None:
            return None
        amount = Decimal(value)
        return (amount / UNITS if connection.vendor == "sqlite" else amount).quantize(PLACES)


class MoneySum(Sum):
    """``Sum`` of amounts with up to four decimal places.

    On SQLite it adds 64-bit integers. Amounts below 10**11 survive the conversion to floating-point numbers,
    since rounding restores them exactly.
    """

    def __init__(self, expression: Any, **extra: Any) -> None:
        super().__init__(expression, output_field=Total(max_digits=28, decimal_places=4), **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = f"SUM(CAST(ROUND((%(expressions)s) * {UNITS}) AS INTEGER))"
        return super().as_sql(compiler, connection, template=template, **context)
