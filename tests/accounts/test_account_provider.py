"""An account's own OpenID provider: which accounts and users it gives access to, and which it must not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import oidc_provider_mock
import pytest
import requests
from django.db import IntegrityError
from pytest_django.fixtures import Settings

from speechportal.accounts.models import (
    Account,
    AccountProvider,
    AuditEntry,
    ExternalIdentity,
    Membership,
    User,
)
from speechportal.accounts.single_sign_on import account_providers, members, protocol
from speechportal.platform.models import NamedLease
from tests.clients import Client
from tests.factories import add_member, make_account, make_user

pytestmark = pytest.mark.django_db
SECRET = "a-secret-of-the-client"


@pytest.fixture
def issuer(settings: Settings) -> Iterator[str]:
    protocol.forget()
    settings.OIDC_ISSUER = ""
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8", "::1/128"]
    settings.OUTBOUND_HTTP = True
    settings.OUTBOUND_PORTS = []
    with oidc_provider_mock.run_server_in_thread(require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"
    protocol.forget()


@pytest.fixture
def alice() -> User:
    return make_user("alice@hanbit.example", "correct horse battery")


@pytest.fixture
def account(alice: User) -> Account:
    return make_account("Hanbit", alice)


@pytest.fixture
def page(account: Account) -> str:
    return f"/a/{account.uid}/account/sign-in/"


@pytest.fixture
def owner(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


FIELDS = {
    "client_id": "portal",
    "secret": SECRET,
    "scopes": "openid email profile",
    "groups_claim": "groups",
    "groups": "callcentre = viewer\nleads = manager",
    "mail_domains": "hanbit.example",
    "label": "",
}


@pytest.fixture
def provider(owner: Client, page: str, issuer: str, account: Account) -> AccountProvider:
    answer = owner.post(page, {"issuer": issuer, **FIELDS})
    assert answer.status_code == 302, answer.content
    row = AccountProvider.objects.for_account(account).get()
    account_providers.confirm_domains(row)
    return row


def person(issuer: str, subject: str = "kim-1", **claims: Any) -> str:
    found = {"email": "kim@hanbit.example", "email_verified": True, "groups": ["callcentre"], **claims}
    requests.put(f"{issuer}/users/{subject}", json=found, timeout=10).raise_for_status()
    return subject


def sign_in(client: Client, account: Account, subject: str) -> Any:
    begun = client.get(f"/login/company/{account.uid}/")
    assert begun.status_code == 302, begun.content
    answer = requests.post(begun["Location"], data={"sub": subject}, allow_redirects=False, timeout=10)
    back = urlsplit(answer.headers["Location"])
    return client.get(f"{back.path}?{back.query}")


def status(client: Client, account: Account, path: str = "batches/") -> int:
    return int(client.get(f"/a/{account.uid}/{path}").status_code)


def test_an_owner_sets_it_up_and_its_secret_is_kept(
    provider: AccountProvider, owner: Client, page: str, issuer: str, account: Account
) -> None:
    assert provider.secret == SECRET
    assert SECRET not in provider.encrypted_secret
    assert SECRET not in owner.get(page).content.decode()
    assert not AuditEntry.unscoped.filter(changes__icontains=SECRET).exists()
    owner.post(page, {"issuer": issuer, **FIELDS, "secret": "", "label": "Hanbit"})
    provider.refresh_from_db()
    assert (provider.label, provider.secret) == ("Hanbit", SECRET)
    other = owner.post(page, {"issuer": issuer, **FIELDS, "secret": "", "client_id": "another"})
    assert b"Enter the secret of the new provider" in other.content


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"issuer": "http://localhost:9/"}, "No provider answers there"),
        ({"issuer": "javascript:alert(1)"}, "No provider answers there"),
        ({"groups": "callcentre = boss"}, "is not of the form"),
        ({"mail_domains": "hanbit"}, "is no domain"),
    ],
)
def test_what_is_wrong_is_said(
    owner: Client, page: str, issuer: str, fields: dict[str, str], said: str
) -> None:
    answer = owner.post(page, {"issuer": issuer, **FIELDS, **fields})
    assert said in answer.content.decode()
    assert not AccountProvider.unscoped.exists()


def test_it_is_reached_by_the_guarded_transport_alone(
    owner: Client, page: str, issuer: str, settings: Settings
) -> None:
    settings.OUTBOUND_NETWORKS = []
    assert b"No provider answers there" in owner.post(page, {"issuer": issuer, **FIELDS}).content


def test_a_new_member_comes_in_and_opens_this_account_alone(
    provider: AccountProvider, issuer: str, account: Account
) -> None:
    client = Client()
    answer = sign_in(client, account, person(issuer))
    assert answer["Location"] == f"/a/{account.uid}/"
    user = User.objects.get(email="kim@hanbit.example")
    assert Membership.objects.get(user=user).role == "viewer"
    other = make_account("Other")
    add_member(other, user, Membership.Role.OWNER)
    assert status(client, account) == 200
    assert status(client, other) == 403
    assert "Other" not in client.get(f"/a/{account.uid}/batches/").content.decode()
    assert client.get("/profile/security/").status_code == 403
    assert client.get("/profile/security/passkeys/add/").status_code == 403


def test_a_first_sign_in_is_repeated_when_another_has_made_its_rows_meanwhile(
    provider: AccountProvider, issuer: str, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = members.connect

    def as_second(*_arguments: object) -> None:
        monkeypatch.setattr(members, "connect", connect)
        raise IntegrityError  # as PostgreSQL's unique constraint does

    monkeypatch.setattr(members, "connect", as_second)
    client = Client()
    assert sign_in(client, account, person(issuer)).status_code == 302
    assert User.objects.filter(email="kim@hanbit.example").count() == 1
    assert status(client, account) == 200


def test_in_a_domain_that_nobody_has_confirmed_it_makes_nobody(
    provider: AccountProvider, issuer: str, account: Account
) -> None:
    answer = sign_in(Client(), account, person(issuer, email="kim@elsewhere.example"))
    assert answer.status_code == 403
    AccountProvider.unscoped.update(confirmed_domains="")
    assert sign_in(Client(), account, person(issuer)).status_code == 403
    assert not User.objects.filter(email__startswith="kim@").exists()


def test_it_takes_over_neither_users_elsewhere_nor_staff(
    provider: AccountProvider, issuer: str, account: Account
) -> None:
    victim = make_user("victim@elsewhere.example")
    theirs = make_account("Theirs", victim)
    make_user("boss@hanbit.example", is_staff=True)
    for email in ("victim@elsewhere.example", "boss@hanbit.example"):
        client = Client()
        assert sign_in(client, account, person(issuer, email.split("@")[0], email=email)).status_code == 403
        assert status(client, theirs) == 302
    assert not ExternalIdentity.objects.exists()


def test_a_user_connects_themselves_after_a_question(
    provider: AccountProvider, issuer: str, account: Account, owner: Client, alice: User
) -> None:
    AccountProvider.unscoped.update(confirmed_domains="")
    subject = person(issuer, "alice-1", email="alice@private.example", groups=["callcentre"])
    asked = sign_in(owner, account, subject)
    assert asked["Location"] == "/login/company/connect/"
    assert not ExternalIdentity.objects.exists()
    assert "alice@private.example" in owner.get("/login/company/connect/").content.decode()
    owner.post("/login/company/connect/")
    assert ExternalIdentity.objects.get().user == alice
    assert Membership.objects.get(user=alice).role == "owner"  # the last one stays
    assert owner.get("/profile/security/").status_code == 200
    alone = Client()
    sign_in(alone, account, subject)
    assert status(alone, account) == 200
    assert alone.get("/profile/security/").status_code == 403
    bob = Client()
    add_member(account, bob_user := make_user("bob@hanbit.example"), "viewer")
    bob.force_login(bob_user)
    assert sign_in(bob, account, subject).status_code == 403


def test_a_company_only_account_and_its_break_glass_owner(
    provider: AccountProvider, issuer: str, account: Account, owner: Client, alice: User, page: str
) -> None:
    settings_page = f"/a/{account.uid}/account/settings/"
    wanted = {"name": "Hanbit", "single_sign_on_only": "on"}
    assert b"Sign in with your company" in owner.post(settings_page, wanted).content
    mine = Membership.objects.get(user=alice)
    owner.post(page, {"break_glass": "yes", "owner": [str(mine.pk)]})
    owner.post(settings_page, wanted)
    account.refresh_from_db()
    assert account.single_sign_on_only
    add_member(account, bob := make_user("bob@hanbit.example", "correct horse"), "manager")
    by_password = Client()
    by_password.force_login(bob)
    refused = by_password.get(f"/a/{account.uid}/batches/")
    assert refused.status_code == 403
    assert f"/login/company/{account.uid}/" in refused.content.decode()
    assert status(owner, account) == 200
    by_company = Client()
    sign_in(by_company, account, person(issuer))
    assert status(by_company, account) == 200
    owner.post(page, {"break_glass": "yes"})
    assert status(owner, account) == 403
    Membership.objects.filter(pk=mine.pk).update(breaks_glass=True)
    owner.post(page, {"remove": "yes"})
    assert not Account.objects.get(pk=account.pk).single_sign_on_only
    assert status(by_password, account) == 200


def test_the_installations_sign_in_does_not_open_an_account_with_its_own(
    provider: AccountProvider, account: Account, settings: Settings, issuer: str
) -> None:
    settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = issuer, "portal", SECRET
    settings.SSO_GROUPS = [f"callcentre={account.uid}:viewer"]
    Account.objects.filter(pk=account.pk).update(single_sign_on_only=True)
    client, subject = Client(), person(issuer)
    begun = client.get("/login/company/")
    answer = requests.post(begun["Location"], data={"sub": subject}, allow_redirects=False, timeout=10)
    back = urlsplit(answer.headers["Location"])
    client.get(f"{back.path}?{back.query}")
    assert "_auth_user_id" in client.session
    assert status(client, account) == 403


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)
    NamedLease.objects.all().delete()


def test_deactivation_at_the_provider_ends_what_it_opened(
    provider: AccountProvider,
    issuer: str,
    account: Account,
    owner: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, subject = Client(), person(issuer)
    sign_in(client, account, subject)
    sign_in(owner, account, person(issuer, "alice-1", email="alice@hanbit.example"))
    owner.post("/login/company/connect/")
    Account.objects.filter(pk=account.pk).update(single_sign_on_only=True)
    assert (status(client, account), status(owner, account)) == (200, 200)
    for each in (subject, "alice-1"):
        requests.post(f"{issuer}/users/{each}/revoke-tokens", timeout=10).raise_for_status()
    later(monkeypatch, 400)
    assert status(client, account) == 302
    assert status(owner, account) == 403  # her own session goes on, without this account
    assert owner.get("/profile/security/").status_code == 200


def test_who_leaves_the_groups_has_no_way_in(
    provider: AccountProvider, issuer: str, account: Account
) -> None:
    sign_in(Client(), account, person(issuer))
    assert sign_in(Client(), account, person(issuer, groups=["kitchen"])).status_code == 403
    assert not Membership.objects.filter(user__email="kim@hanbit.example").exists()


def test_everybody_may_be_given_a_role(
    provider: AccountProvider, issuer: str, account: Account, owner: Client, page: str
) -> None:
    owner.post(page, {"issuer": issuer, **FIELDS, "secret": "", "groups": "* = viewer\nleads = manager"})
    sign_in(Client(), account, person(issuer, groups=[]))
    assert Membership.objects.get(user__email="kim@hanbit.example").role == "viewer"


def test_it_is_found_by_an_address(provider: AccountProvider, account: Account) -> None:
    assert b"/login/company/find/" in Client().get("/login/").content
    found = Client().post("/login/company/find/", {"email": "anybody@HANBIT.example"})
    assert f"/login/company/{account.uid}/" in found.content.decode()
    for email in ("x@elsewhere.example", "x@nbit.example"):
        assert b"No company sign-in" in Client().post("/login/company/find/", {"email": email}).content


def test_signing_out_leads_to_its_provider(provider: AccountProvider, issuer: str, account: Account) -> None:
    client = Client()
    sign_in(client, account, person(issuer))
    assert f"{issuer}/oauth2/end_session?id_token_hint=".encode() in client.post("/logout/").content


def test_a_domain_belongs_to_one_account(provider: AccountProvider) -> None:
    other = make_account("Other")
    rival = AccountProvider.unscoped.create(
        account=other, issuer="https://id.example", client_id="x", domains="hanbit.example"
    )
    with pytest.raises(Exception, match="belongs to another account"):
        account_providers.confirm_domains(rival)
    assert not rival.proven_domains
