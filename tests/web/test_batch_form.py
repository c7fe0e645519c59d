"""Form of a batch: its advanced settings are open where one of them has a value or an error."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from batches.models import Batch
from speechportal.accounts.models import Account, User
from tests.clients import Client
from tests.factories import make_account, make_batch, make_connection, make_domain, make_user

pytestmark = pytest.mark.django_db
OPENED = '<details class="advanced" open>'


@pytest.fixture
def alice() -> User:
    return make_user()


@pytest.fixture
def account(alice: User) -> Account:
    return make_account(owner=alice)


@pytest.fixture
def client(account: Account, alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


@pytest.mark.parametrize(("columns", "is_open"), [([], False), (["segments"], True)])
def test_a_duplicate_opens_the_advanced_settings_for_more_columns(
    columns: list[str], is_open: bool, account: Account, client: Client
) -> None:
    batch = make_batch(account, priority=0)
    Batch.unscoped.filter(pk=batch.pk).update(csv_columns=columns)
    answer = client.get(reverse("batches:create"), {"from": batch.uid})
    assert answer.status_code == 200
    assert (OPENED in answer.content.decode()) is is_open


def test_a_refused_form_is_shown_again(client: Client) -> None:
    answer = client.post(reverse("batches:create"), {"name": "calls"})
    assert answer.status_code == 200
    assert "domain" in answer.context["form"].errors


def test_a_domain_and_a_connection_are_chosen_where_there_is_one(account: Account, client: Client) -> None:
    domain, connection = make_domain(account), make_connection(account)
    chosen = {f'<option value="{row.pk}"' for row in (domain, connection)}

    def selected() -> set[str]:
        page = client.get(reverse("batches:create"), follow=True).content.decode()
        options = re.findall(r"<option[^>]* selected[^>]*>", page)
        return {start for start in chosen for option in options if option.startswith(start)}

    assert selected() == chosen
    make_domain(account)
    make_connection(account)
    assert selected() == set()
