"""Adjustments of the ledger: refunds and later charges, each a row of its own."""

from __future__ import annotations

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from batches.billing.money import MoneySum
from batches.models import Adjustment, Charge
from speechportal.accounts.audit import trail
from speechportal.accounts.models import Account


def net_of(charge: Charge) -> Decimal:
    """Net amount of a charge: its amount plus its adjustments."""
    corrected = Adjustment.unscoped.filter(charge=charge).aggregate(total=MoneySum("amount"))["total"]
    return charge.amount + (corrected or Decimal(0))


def adjust(*, charge: Charge, amount: Decimal, reason: str) -> Adjustment:
    """Correct a charge by ``amount``, in its currency. The net amount cannot become negative.

    Raises ``ValidationError``.
    """
    if not amount:
        raise ValidationError(_("Enter an amount other than zero."), code="adjustment_zero")
    if not reason.strip():
        raise ValidationError(_("Say why the charge is corrected."), code="adjustment_reason")
    with transaction.atomic():
        # The row lock serialises adjustments of an account, so that two do not refund the same money.
        Account.objects.select_for_update(no_key=True).get(pk=charge.account_id)
        if net_of(charge) + amount < 0:
            raise ValidationError(
                _("No more can be given back than was charged: %s.") % net_of(charge),
                code="adjustment_too_large",
            )
        made = Adjustment.unscoped.create(
            account=charge.account,
            charge=charge,
            amount=amount,
            currency=charge.currency,
            reason=reason.strip(),
        )
        trail.record(
            "charge.corrected", charge, changes={"amount": [None, str(amount)]}, reason=reason.strip()
        )
    return made
