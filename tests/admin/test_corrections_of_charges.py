"""Adjustments of charges are visible to members and included in all sums."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from django.utils import timezone

from batches.billing import adjustments
from batches.models import Charge
from tests import factories
from tests.clients import Client

pytestmark = pytest.mark.django_db


def test_the_page_and_the_csv_have_the_corrections(client: Client) -> None:
    alice = factories.make_user("alice@example.com")
    account = factories.make_account(owner=alice)
    batch = factories.make_batch(account)
    for name in ("one.wav", "two.wav"):
        charge = Charge.unscoped.create(
            account=account,
            batch=batch,
            task=factories.make_task(batch, name, state="completed"),
            batch_name=batch.name,
            input_name=name,
            media_duration=60_000,
            amount=Decimal("0.1"),
            currency="USD",
        )
    adjustments.adjust(charge=charge, amount=Decimal("-0.1"), reason="It was noise.")
    client.force_login(alice)
    page = client.get("/usage/").content.decode()
    assert "It was noise." in page
    assert "-0.10 USD" in page
    response = client.get(f"/usage/{timezone.localtime():%Y-%m}.csv")
    text = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined] # it streams
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3
    assert sum(Decimal(row["Amount"]) for row in rows) == Decimal("0.1")
