"""Two tabs with the same change form in admin: the second save overwrites no unseen change."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from batches.models import Batch
from domains.models import Domain
from speechportal.accounts.models import Account, Membership, User
from speechportal.storage.models import Connection
from tests import factories
from tests.admin.staff import signed_in
from tests.clients import Client

pytestmark = pytest.mark.django_db


def opened(client: Client, page: str) -> dict[str, Any]:
    """Values of an opened change form, as a browser would submit them, with a reason."""
    form = client.get(page).context["adminform"].form
    values: dict[str, Any] = {}
    for bound in form:
        value = bound.value()
        if isinstance(value, bool):
            values |= {bound.html_name: "on"} if value else {}
        elif value is not None and not bound.field.disabled:
            values[bound.html_name] = value
    assert values["opened_with"] != "{}", "the form carries no version"
    return {**values, "reason": "By mail."}


def errors_of(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return {name: list(errors) for name, errors in answer.context["adminform"].form.errors.items()}


def row_and_page(kind: str) -> tuple[Any, str]:
    account = factories.make_account("Acme")
    makers: dict[str, Callable[[], Any]] = {
        "account": lambda: account,
        "domain": lambda: factories.make_domain(account, name="Acme"),
        "batch": lambda: factories.make_batch(account, name="Acme"),
        "connection": lambda: factories.make_connection(account, name="Acme"),
    }
    row = makers[kind]()
    return row, reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


@pytest.mark.parametrize("kind", ["account", "domain", "batch", "connection"])
def test_the_second_tab_is_shown_both_values(kind: str) -> None:
    client = signed_in("administrator")
    row, page = row_and_page(kind)
    first, second = opened(client, page), opened(client, page)
    answer = client.post(page, {**first, "name": "First"})
    assert answer.status_code == 302, errors_of(answer)
    answer = client.post(page, {**second, "name": "Second", "reason": "By telephone."})
    [sentence] = errors_of(answer)["name"]
    assert "“First”" in sentence
    assert "“Second”" in sentence
    text = html.unescape(answer.content.decode())
    assert 'value="Second"' in text, "what was typed is kept"
    assert 'value="By telephone."' in text
    row.refresh_from_db()
    assert row.name == "First"
    renewed = answer.context["adminform"].form["opened_with"]
    again = {**second, "name": "Second", "opened_with": renewed.value()}
    assert client.post(page, again).status_code == 302
    row.refresh_from_db()
    assert row.name == "Second"


OTHERS = {
    "account": ("time_zone", "Asia/Seoul"),
    "domain": ("forbidden_words", "damn"),
    "batch": ("priority", "1"),
}


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_two_tabs_change_two_fields(kind: str) -> None:
    client = signed_in("administrator")
    row, page = row_and_page(kind)
    first, second = opened(client, page), opened(client, page)
    field, value = OTHERS[kind]
    assert client.post(page, {**first, field: value}).status_code == 302
    answer = client.post(page, {**second, "name": "Second"})
    assert answer.status_code == 302, errors_of(answer)
    row.refresh_from_db()
    assert row.name == "Second"
    found = getattr(row, field)
    assert (found[0] if isinstance(found, list) else str(found)) == value


def test_columns_of_no_field_are_left_alone() -> None:
    client = signed_in("administrator")
    account, page = row_and_page("account")
    form = opened(client, page)
    Account.objects.filter(pk=account.pk).update(currency="KRW")
    assert client.post(page, {**form, "name": "Second"}).status_code == 302
    account.refresh_from_db()
    assert (account.name, account.currency) == ("Second", "KRW")


def test_redaction_of_a_domain_is_not_taken_back() -> None:
    client = signed_in("administrator")
    domain, page = row_and_page("domain")
    first, second = opened(client, page), opened(client, page)
    assert client.post(page, {**first, "redact_phone": "mask"}).status_code == 302
    assert client.post(page, {**second, "redact_email": "mask", "keywords": "Ada"}).status_code == 302
    domain.refresh_from_db()
    assert domain.redaction.kinds == {"phone": "mask", "email": "mask"}


def test_rights_of_a_user_are_not_given_back() -> None:
    """The first tab removes the staff rights; the other, opened earlier, only corrects a name."""
    client = Client()
    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    person = factories.make_user("bob@example.com", is_staff=True)
    groups = [Group.objects.get(name=name) for name in ("finance", "support")]
    person.groups.set(groups)
    page = reverse("admin:accounts_user_change", args=[person.pk])
    first, second = opened(client, page), opened(client, page)
    assert len(first["groups"]) == 2
    for values in (first, second):
        values["groups"] = [group.pk for group in groups]
    del first["is_staff"]
    assert client.post(page, {**first, "groups": []}).status_code == 302
    answer = client.post(page, {**second, "first_name": "Bob"})
    assert answer.status_code == 302, errors_of(answer)
    person.refresh_from_db()
    assert (person.first_name, person.is_staff, person.groups.count()) == ("Bob", False, 0)


def test_a_role_of_two_tabs() -> None:
    client = signed_in("administrator")
    account = factories.make_account(owner=factories.make_user())
    membership = factories.add_member(account, factories.make_user(), Membership.Role.VIEWER)
    page = reverse("admin:accounts_membership_change", args=[membership.pk])
    first, second = opened(client, page), opened(client, page)
    assert client.post(page, {**first, "role": "owner"}).status_code == 302
    [sentence] = errors_of(client.post(page, {**second, "role": "manager"}))["role"]
    assert "“Owner”" in sentence
    assert "“Manager”" in sentence
    assert client.post(page, second).status_code == 302
    membership.refresh_from_db()
    assert membership.role == "owner"


def test_every_change_form_carries_a_version() -> None:
    """Whatever page of the admin changes a row, its form is compared."""
    from django.contrib import admin

    from speechportal.support.admin import ReadOnlyAdmin, ReasonedForm

    changing = {model for model, page in admin.site._registry.items() if not isinstance(page, ReadOnlyAdmin)}
    assert {Account, Batch, Connection, Domain, Membership, User} <= changing
    assert [
        model for model in changing if not issubclass(admin.site._registry[model].form, ReasonedForm)
    ] == []
