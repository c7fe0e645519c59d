"""Access to every URL of the portal: refused to everybody without the right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from batches.models import Delivery, ExecutionResult, StoredTranscript
from batches.recognition.transcript import Segment, Transcript
from speechportal.accounts.members import invitations
from speechportal.accounts.models import Account, Membership, User
from speechportal.accounts.tokens import api_tokens
from tests.clients import Client
from tests.factories import (
    add_member,
    make_account,
    make_batch,
    make_chat_channel,
    make_domain,
    make_task,
    make_user,
)
from tests.repository.routes import ROUTES, STAFF_NAMESPACES, TOKEN_NAMESPACES, Guard, Route

pytestmark = pytest.mark.django_db
World = dict[str, str]
NOBODYS = {
    "bob",
    "action",
    "format",
    "ending",
    "help_page",
    "language",
    "line",
    "month",
    "list",
    "acknowledged_subject",
    "token",
}  # Arguments that are no tenant's.


def patterns(entries: list[Any], namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in entries:
        if isinstance(entry, URLResolver):
            inner = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from patterns(entry.url_patterns, inner)
        else:
            yield f"{namespace}{entry.name or entry.pattern}", entry


FOUND = sorted({name for name, _ in patterns(get_resolver().url_patterns)})
OWN = [name for name in FOUND if name.split(":")[0] not in STAFF_NAMESPACES + TOKEN_NAMESPACES]


@pytest.fixture
def world() -> World:
    """Alice owns an account with one of everything, Bob views it, Charlie has an account of his own."""
    alice, bob, charlie = (make_user(f"{name}@example.com") for name in ("alice", "bob", "charlie"))
    account = make_account("Alice’s", alice)
    add_member(account, bob, Membership.Role.VIEWER)
    make_account("Charlie’s", charlie)
    return things_of(account, alice, bob)


def things_of(account: Account, owner: User, other: User) -> World:
    """Create one object of each kind, under the names in ``ROUTES``; ``other`` is another member."""
    batch = make_batch(account)
    result = ExecutionResult.unscoped.create(
        account=account, batch=batch, connection=batch.connection, number=1, task_count=1, key="out/1.csv"
    )
    task = make_task(batch, state="completed", execution_result=result)
    document = Transcript("en", 1.0, 1000, [Segment(0, 1000, "Hello.")])
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    delivery = Delivery.unscoped.create(
        account=account, batch=batch, task=task, event="task.completed", about=task.uid, payload="{}"
    )
    invitation, _ = invitations.invite(account=account, email="d@example.com", role="viewer", by=owner)
    api_token, _ = api_tokens.create_token(
        account=account, created_by=owner, name="Nightly", scopes=["batches:read"]
    )
    return {
        "account": account.uid,
        "bob": str(Membership.objects.get(user=other, account=account).pk),
        "invitation": invitation.uid,
        "api_token": api_token.uid,
        "token": "not-a-link-we-made",
        "delivery": delivery.uid,
        "batch": batch.uid,
        "task": task.uid,
        "domain": make_domain(account).uid,
        "connection": batch.connection.uid if batch.connection else "",
        "result": result.uid,
        "channel": make_chat_channel(account).uid,
        "line": "0",
        "action": "retry",
        "list": "tasks",
        "acknowledged_subject": "error",
        "format": "json",
        "ending": "csv",
        "help_page": "batches",
        "language": "en",
        "month": timezone.now().strftime("%Y-%m"),
    }


def ask(who: str, name: str, world: World) -> Any:
    """Response of a route to ``who`` (empty: nobody is signed in)."""
    client = Client()
    if who:
        client.force_login(User.objects.get(email=f"{who}@example.com"))
    route = ROUTES[name]
    path = reverse(name, kwargs={key: world[value] for key, value in route.kwargs.items()})
    return client.generic(route.method, path)


def of(*guards: Guard) -> list[str]:
    return [name for name, route in ROUTES.items() if route.guard in guards]


def is_of_somebody(route: Route) -> bool:
    """Whether the URL contains the ID of an account's object."""
    return bool(set(route.kwargs.values()) - NOBODYS | {"bob"} & set(route.kwargs.values()))


INSIDE = of(Guard.MEMBER, Guard.MANAGER, Guard.OWNER)


def test_every_route_has_a_row() -> None:
    assert sorted(set(OWN) - set(ROUTES)) == [], "add it to tests/repository/routes.py"
    assert sorted(set(ROUTES) - set(FOUND)) == [], "this route does not exist any more"


def answers(who: str, names: list[str], world: World) -> dict[str, Any]:
    return {name: ask(who, name, world) for name in names}


def others(found: dict[str, Any], *expected: int) -> dict[str, int]:
    """Statuses other than the expected ones."""
    return {name: answer.status_code for name, answer in found.items() if answer.status_code not in expected}


def test_a_visitor_is_asked_to_sign_in(world: World) -> None:
    found = answers("", [*INSIDE, *of(Guard.SIGNED_IN, Guard.STAFF)], world)
    login = reverse("login")
    assert [name for name, answer in found.items() if not answer.get("Location", "").startswith(login)] == []


def test_a_stranger_finds_nothing(world: World) -> None:
    found = answers("charlie", [name for name in INSIDE if is_of_somebody(ROUTES[name])], world)
    assert others(found, 404) == {}


def test_a_stranger_sees_only_his_own(world: World) -> None:
    names = [name for name in of(Guard.MEMBER) if not is_of_somebody(ROUTES[name])]
    for name, answer in answers("charlie", names, world).items():
        assert answer.status_code in {200, 302}, name
        text = answer.getvalue().decode() if answer.status_code == 200 else ""
        assert [key for key in set(world) - NOBODYS if world[key] in text] == [], name


@pytest.mark.parametrize("suspended", [False, True], ids=["in order", "suspended"])
def test_a_viewer_reads_and_changes_nothing(world: World, suspended: bool) -> None:
    if suspended:
        Account.objects.filter(uid=world["account"]).update(suspended_at=timezone.now())
    reads, changes = of(Guard.MEMBER), of(Guard.MANAGER, Guard.OWNER)
    found = answers("bob", [*reads, *changes], world)
    assert {
        name: found[name].status_code for name in reads if found[name].status_code not in {200, 302}
    } == {}
    assert {name: found[name].status_code for name in changes if found[name].status_code != 403} == {}


def test_a_manager_does_nothing_that_is_an_owners(world: World) -> None:
    Membership.objects.filter(pk=world["bob"]).update(role=Membership.Role.MANAGER)
    found = answers("bob", of(Guard.MANAGER, Guard.OWNER), world)
    owners = {name for name, answer in found.items() if answer.status_code == 403}
    assert owners == set(of(Guard.OWNER))


def test_an_owner_gets_in(world: World) -> None:
    found = answers("alice", sorted(INSIDE, key=lambda name: ROUTES[name].method), world)
    # 422: let in, and told that an empty request is no upload.
    assert others(found, 200, 302, 422) == {}


def test_open_routes_show_no_account(world: World) -> None:
    for name, answer in answers("", of(Guard.OPEN), world).items():
        # 404: company sign-in is not set up here; an account's own is looked for by an address all the same.
        # 400: passkeys need HTTPS or localhost.
        is_missing = name.startswith("company_") and name != "company_sign_in_find"
        expected = {404} if is_missing else {400} if name == "passkey_options" else {200, 302}
        assert answer.status_code in expected, name
        assert "Alice’s" not in answer.content.decode(), name


@pytest.mark.parametrize("who", ["", "alice"])
def test_a_link_that_was_not_signed_opens_nothing(who: str, world: World) -> None:
    found = answers(who, of(Guard.SIGNED), world)
    assert others(found, 403, 404) == {}


ADMIN_PAGES = [
    name for name in FOUND if name.startswith("admin:") and name.endswith(("_changelist", ":index"))
]


def test_the_admin_is_for_staff(world: World) -> None:
    client = Client()
    client.force_login(User.objects.get(email="alice@example.com"))
    assert ADMIN_PAGES
    for name in ADMIN_PAGES:
        response = client.get(reverse(name))
        assert response.status_code == 302, name
        assert response["Location"].startswith(reverse("admin:login")), name
