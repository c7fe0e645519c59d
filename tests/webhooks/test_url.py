"""Webhook URLs are validated when they are entered, with a sentence that says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django.fixtures import Settings

from batches.models import Batch, Webhook
from batches.services import batches as batch_services
from speechportal.checks import check_webhook_lease
from tests.factories import make_account, make_batch, make_connection, make_domain

pytestmark = pytest.mark.django_db


def fields_for_a_batch() -> dict[str, Any]:
    account = make_account()
    return {
        "account": account,
        "name": "calls",
        "domain": make_domain(account),
        "connection": make_connection(account),
        "input_path": "in",
        "result_path": "out",
    }


REFUSED = [
    ("ftp://example.com/", "bad_url", "not a web address"),
    ("https://user:password@example.com/", "bad_url", "not a web address"),
    ("http://8.8.8.8/", "https_required", "https://"),
    ("https://8.8.8.8:22/", "port_not_allowed", "Port 22"),
    ("https://127.0.0.1/", "address_not_allowed", "not on the public internet"),
    ("https://[::ffff:169.254.169.254]/", "address_not_allowed", "not on the public internet"),
    ("https://2130706433/", "address_not_allowed", "not on the public internet"),
    ("https://no-such-host.invalid/", "name_not_found", "no-such-host.invalid"),
]


@pytest.fixture
def strict(settings: Settings) -> None:
    settings.OUTBOUND_NETWORKS = []
    settings.OUTBOUND_HTTP = False
    settings.OUTBOUND_PORTS = [443]


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(("url", "code", "sentence"), REFUSED)
def test_an_address_that_nothing_would_be_sent_to_is_refused(url: str, code: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        batch_services.create_batch(**fields_for_a_batch(), webhook_url=url)
    (error,) = caught.value.error_dict["webhook_url"]
    assert error.code == code
    assert sentence in str(error.message)
    batch = make_batch()
    with pytest.raises(ValidationError) as caught:
        batch_services.update_batch(batch=batch, webhook_url=url)
    assert list(caught.value.error_dict) == ["webhook_url"]
    batch.refresh_from_db()
    assert batch.webhook_url == ""


@pytest.mark.usefixtures("strict")
def test_every_error_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        batch_services.create_batch(
            **{**fields_for_a_batch(), "name": "a/b"}, webhook_url="https://127.0.0.1/"
        )
    assert set(caught.value.error_dict) == {"name", "webhook_url"}


@pytest.mark.usefixtures("strict")
def test_a_global_address_is_accepted_and_gets_a_secret() -> None:
    batch = batch_services.create_batch(**fields_for_a_batch(), webhook_url="https://8.8.8.8/hook")
    assert Webhook.unscoped.get(batch=batch).encrypted_secret
    assert batch_services.create_batch(**fields_for_a_batch()).webhook_url == ""
    assert Webhook.unscoped.count() == 1


@pytest.mark.usefixtures("strict")
def test_an_address_that_is_kept_is_not_judged_again() -> None:
    batch = make_batch()
    Batch.unscoped.filter(pk=batch.pk).update(webhook_url="https://127.0.0.1/")
    batch.refresh_from_db()
    saved = batch_services.update_batch(batch=batch, name="another", webhook_url="https://127.0.0.1/")
    assert saved.name == "another"


def test_a_lease_that_ends_before_the_answer_may_come_is_an_error(settings: Settings) -> None:
    settings.WEBHOOK_LEASE_SECONDS, settings.WEBHOOK_TIMEOUT_SECONDS = 30, 10
    assert check_webhook_lease(None) == []
    settings.WEBHOOK_LEASE_SECONDS = 29
    (error,) = check_webhook_lease(None)
    assert error.id == "speechportal.E005"
    assert "SPEECHPORTAL_WEBHOOK_LEASE_SECONDS" in str(error.hint)
