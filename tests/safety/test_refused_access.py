"""Refused access to every URL of the API, CLOVA API and admin: ended tokens, suspended accounts, non-staff.

(tests/repository/test_routes.py walks the portal's pages, tests/api/test_routes.py the API with scopes and
roles.)
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Task
from batches.services import batches as batch_services
from speechportal.accounts.models import Account, ApiToken, Membership, User
from speechportal.accounts.tokens import api_tokens
from tests.admin.staff import member_of, signed_in
from tests.api.addresses import VIEWS, filled
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db
CASES = [(path, method.upper()) for path, view in VIEWS for method in view.actions]


@pytest.fixture
def account() -> Account:
    return make_account("Alice’s", make_user("alice@example.com"))


@pytest.fixture
def things(account: Account) -> dict[str, str]:
    batch = make_batch(account)
    assert batch.domain is not None
    assert batch.connection is not None
    task = make_task(batch, state="failed")
    return {
        "batches": batch.uid,
        "tasks": task.uid,
        "domains": batch.domain.uid,
        "connections": batch.connection.uid,
        "execution-results": "exr_" + 16 * "0",
        "deliveries": "dlv_" + 16 * "0",
        "tokens": "tok_" + 16 * "0",
        "invitations": "inv_" + 16 * "0",
        "members": "1000000",
    }


def token_of(account: Account, email: str = "alice@example.com", **fields: Any) -> tuple[ApiToken, str]:
    user = User.objects.get(email=email)
    return api_tokens.create_token(account=account, created_by=user, name="t", scopes=["write"], **fields)


def knock(path: str, method: str, things: dict[str, str], plain: str) -> Any:
    headers = {"authorization": f"Bearer {plain}"}
    return Client(headers=headers).generic(method, filled(path, things))


def revoke(account: Account) -> str:
    token, plain = token_of(account)
    api_tokens.revoke_token(token=token)
    return plain


def expire(account: Account) -> str:
    token, plain = token_of(account)
    ApiToken.unscoped.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    return plain


def remove_its_maker(account: Account) -> str:
    bob = make_user("bob@example.com")
    add_member(account, bob, Membership.Role.OWNER)
    _token, plain = token_of(account, "bob@example.com")
    Membership.objects.filter(user=bob).delete()
    return plain


@pytest.mark.parametrize("ended", [revoke, expire, remove_its_maker])
def test_a_token_that_has_ended_opens_no_route(account: Account, things: dict[str, str], ended: Any) -> None:
    plain = ended(account)
    found = {(path, method): knock(path, method, things, plain).status_code for path, method in CASES}
    assert {case: status for case, status in found.items() if status != 401} == {}


@pytest.mark.parametrize("given", ["", "no token", "revoked"])
def test_clovas_entry_opens_for_a_token_that_works_alone(account: Account, given: str) -> None:
    batch = make_batch(account)
    assert batch.domain is not None
    key = revoke(account) if given == "revoked" else given
    client = Client(headers={"x-clovaspeech-api-key": key} if key else {})
    found = {}
    for name, method in [("upload", "POST"), ("url", "POST"), ("object_storage", "POST"), ("result", "GET")]:
        more = {"token": "tsk_0"} if name == "result" else {}
        address = reverse(
            f"clova:{name}", kwargs={"code": batch.domain.code, "key": batch.domain.uid, **more}
        )
        found[name] = client.generic(method, address).status_code
    assert set(found.values()) == {401}, found
    assert not Task.unscoped.exists()


def test_a_suspended_account_reads_and_starts_nothing(account: Account, things: dict[str, str]) -> None:
    _token, plain = token_of(account)
    reads = [case for case in CASES if case[1] == "GET"]
    before = {case: knock(*case, things, plain).status_code for case in reads}
    batch_services.suspend_account(account=account)
    browsing = {case: 403 for case in reads if case[0].endswith("/browse")}  # It asks a storage.
    assert browsing
    assert {case: knock(*case, things, plain).status_code for case in reads} == {**before, **browsing}
    changes = {case: knock(*case, things, plain).status_code for case in CASES if case[1] != "GET"}
    assert {case: status for case, status in changes.items() if status >= 500} == {}
    assert not Task.unscoped.filter(state__in=Task.LEASED).exists()


def admin_addresses() -> Iterator[str]:
    """Every address below /admin/, with something for each of its arguments."""

    def walk(entries: list[Any]) -> Iterator[URLPattern]:
        for entry in entries:
            if isinstance(entry, URLResolver):
                yield from walk(entry.url_patterns)
            else:
                yield entry

    resolvers = [each for each in get_resolver().url_patterns if isinstance(each, URLResolver)]
    (admin,) = [each for each in resolvers if each.namespace == "admin"]
    for pattern in walk(admin.url_patterns):
        if not pattern.name:
            continue  # What catches all the others.
        given = {"app_label": "batches", "action": "retry"}
        kwargs = {name: given.get(name, "1") for name in pattern.pattern.regex.groupindex}
        yield reverse(f"admin:{pattern.name}", kwargs=kwargs)


ADMIN = sorted(set(admin_addresses()))
OPEN = {"/admin/login/", "/admin/logout/"}  # The way in, and the way out.


def test_no_address_of_the_admin_opens_for_others(account: Account) -> None:
    assert len(ADMIN) > 80
    member = Client()
    member.force_login(User.objects.get(email="alice@example.com"))
    for client in (Client(), member):
        found = {each: client.get(each) for each in ADMIN if each not in OPEN}
        wrong = {each: answer.status_code for each, answer in found.items() if answer.status_code != 302}
        assert wrong == {}
        assert {answer["Location"].partition("?")[0] for answer in found.values()} <= {
            "/admin/login/",
            "/login/",
        }


def test_none_opens_for_staff_without_the_second_factor(settings: Settings) -> None:
    settings.STAFF_TWO_FACTOR = True
    client = Client()
    client.force_login(member_of("administrator"))
    found = {each: client.get(each) for each in ADMIN if each not in OPEN}
    wrong = {each: answer.status_code for each, answer in found.items() if answer.status_code != 302}
    assert wrong == {}


def test_those_of_staff_do_open(settings: Settings) -> None:
    client = signed_in("administrator")
    lists = [each for each in ADMIN if each.count("/") == 4 and each.startswith("/admin/batches/")]
    assert lists
    assert {client.get(each).status_code for each in lists} == {200}
