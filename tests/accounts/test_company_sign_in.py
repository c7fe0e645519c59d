"""Company sign-in, against a real OpenID provider on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import oidc_provider_mock
import pytest
import requests
from django.urls import reverse
from joserfc import jwt
from joserfc.jwk import RSAKey
from pytest_django.fixtures import Settings

from speechportal.accounts.models import Account, AuditEntry, ExternalIdentity, Membership, User
from speechportal.accounts.single_sign_on import configuration, protocol
from speechportal.platform.models import NamedLease
from tests.clients import Client
from tests.factories import add_member, make_account, make_user

pytestmark = pytest.mark.django_db
CLAIMS = {"email": "kim@example.com", "email_verified": True, "groups": ["callcentre"]}


@pytest.fixture
def account() -> Account:
    return make_account("Ours", make_user("alice@example.com", "correct horse battery"))


@pytest.fixture
def issuer(settings: Settings, account: Account) -> Iterator[str]:
    protocol.forget()
    with oidc_provider_mock.run_server_in_thread(require_nonce=True) as server:
        issuer = f"http://localhost:{server.server_port}"
        settings.OIDC_ISSUER = issuer
        settings.OIDC_CLIENT_ID = "portal"
        settings.OIDC_CLIENT_SECRET = "secret"
        settings.SSO_GROUPS = [f"callcentre={account.uid}:viewer", f"leads={account.uid}:manager"]
        settings.OUTBOUND_NETWORKS = ["127.0.0.0/8", "::1/128"]
        settings.OUTBOUND_HTTP = True
        settings.OUTBOUND_PORTS = []
        yield issuer
    protocol.forget()


def person(issuer: str, subject: str = "kim-1", **claims: Any) -> str:
    """Add a user at the provider."""
    found = {**CLAIMS, **claims}
    requests.put(f"{issuer}/users/{subject}", json=found, timeout=10).raise_for_status()
    return subject


def at_provider(location: str, subject: str) -> str:
    """Sign in at the provider as the browser would; returns the redirect URL."""
    answer = requests.post(location, data={"sub": subject}, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


def sign_in(client: Client, subject: str, next_page: str = "") -> Any:
    begun = client.get("/login/company/", {"next": next_page} if next_page else {})
    assert begun.status_code == 302, begun.content
    back = urlsplit(at_provider(begun["Location"], subject))
    return client.get(f"{back.path}?{back.query}")


def test_a_new_member_comes_in_with_the_role_of_the_group(issuer: str, account: Account) -> None:
    client = Client()
    answer = sign_in(client, person(issuer), "/batches/")
    assert (answer.status_code, answer["Location"]) == (302, "/batches/")
    user = User.objects.get(email="kim@example.com")
    assert not user.has_usable_password()
    assert Membership.objects.get(user=user).role == Membership.Role.VIEWER
    assert ExternalIdentity.objects.get(user=user).subject == "kim-1"
    assert client.get("/batches/", follow=True).status_code == 200
    assert AuditEntry.unscoped.filter(action="user.company_sign_in", actor=user).exists()


def test_the_request_has_pkce_a_nonce_and_a_state_that_count_once(issuer: str) -> None:
    client = Client()
    location = client.get("/login/company/")["Location"]
    asked = parse_qs(urlsplit(location).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["code_challenge"][0]) == 43
    assert asked["nonce"] != asked["state"]
    back = urlsplit(at_provider(location, person(issuer)))
    assert client.get(f"{back.path}?{back.query}").status_code == 302
    assert client.get(f"{back.path}?{back.query}").status_code == 403


def test_an_answer_for_another_browser_is_refused(issuer: str) -> None:
    alice, mallory = Client(), Client()
    mine = urlsplit(at_provider(mallory.get("/login/company/")["Location"], person(issuer)))
    alice.get("/login/company/")
    assert alice.get(f"{mine.path}?{mine.query}").status_code == 403
    assert "_auth_user_id" not in alice.session


def test_who_is_in_no_group_and_unknown_is_refused(issuer: str) -> None:
    answer = sign_in(Client(), person(issuer, groups=["kitchen"]))
    assert answer.status_code == 403
    assert b"Nobody has given" in answer.content
    assert not User.objects.filter(email="kim@example.com").exists()


def test_an_address_that_is_not_verified_takes_nobody_over(issuer: str) -> None:
    for claims in ({"email_verified": False}, {"email_verified": None}):
        answer = sign_in(Client(), person(issuer, email="alice@example.com", **claims))
        assert answer.status_code == 403
    assert not ExternalIdentity.objects.exists()


def test_staff_cannot_be_taken_over(issuer: str) -> None:
    make_user("boss@example.com", is_staff=True)
    assert sign_in(Client(), person(issuer, email="boss@example.com")).status_code == 403


def test_roles_follow_the_groups_at_each_sign_in(issuer: str, account: Account) -> None:
    sign_in(Client(), person(issuer))
    sign_in(Client(), person(issuer, groups=["callcentre", "leads"]))
    assert Membership.objects.get(user__email="kim@example.com").role == Membership.Role.MANAGER
    sign_in(Client(), person(issuer, groups=[]))
    assert not Membership.objects.filter(user__email="kim@example.com").exists()


def test_other_memberships_and_the_last_owner_stay(issuer: str, account: Account) -> None:
    other = make_account("Other")
    alice = User.objects.get(email="alice@example.com")
    add_member(other, alice, Membership.Role.MANAGER)
    sign_in(Client(), person(issuer, "alice-1", email="alice@example.com", groups=[]))
    assert {(each.account.name, each.role) for each in Membership.objects.filter(user=alice)} == {
        ("Ours", "owner"),
        ("Other", "manager"),
    }


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)


def test_deactivation_at_the_provider_ends_the_session(issuer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    subject = person(issuer)
    sign_in(client, subject)
    later(monkeypatch, 400)
    assert client.get("/batches/", follow=True).status_code == 200
    assert "_auth_user_id" in client.session
    requests.post(f"{issuer}/users/{subject}/revoke-tokens", timeout=10).raise_for_status()
    later(monkeypatch, 800)
    NamedLease.objects.all().delete()
    assert client.get("/batches/")["Location"].startswith("/login/")
    assert "_auth_user_id" not in client.session


def test_leaving_the_group_in_the_middle_of_a_session_takes_the_account_away(
    issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    subject = person(issuer)
    sign_in(client, subject)
    person(issuer, subject, groups=[])
    later(monkeypatch, 400)
    assert client.get("/batches/", follow=True).status_code in {403, 404}


def test_deactivation_here_ends_the_session_at_once(issuer: str) -> None:
    client = Client()
    sign_in(client, person(issuer))
    User.objects.filter(email="kim@example.com").update(is_active=False)
    assert client.get("/batches/")["Location"].startswith("/login/")
    assert sign_in(Client(), "kim-1").status_code == 403


def test_a_provider_that_is_away_ends_sessions_only_after_a_while(
    issuer: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    sign_in(client, person(issuer))

    def away(*_args: Any, **_kwargs: Any) -> Any:
        raise protocol.ProviderUnavailable("away")

    monkeypatch.setattr(protocol, "renew", away)
    later(monkeypatch, 400)
    assert client.get("/batches/", follow=True).status_code == 200
    NamedLease.objects.all().delete()
    later(monkeypatch, settings.OIDC_RECHECK_SECONDS * 13)
    assert client.get("/batches/")["Location"].startswith("/login/")


def test_an_account_that_takes_only_company_sign_in(
    issuer: str, account: Account, settings: Settings
) -> None:
    Account.objects.filter(pk=account.pk).update(single_sign_on_only=True)
    by_password = Client()
    by_password.force_login(User.objects.get(email="alice@example.com"))
    page = by_password.get("/batches/", follow=True)
    assert page.status_code == 403
    assert reverse("company_sign_in").encode() in page.content
    settings.SSO_BREAK_GLASS = ["Alice@Example.com"]
    assert by_password.get("/batches/", follow=True).status_code == 200
    by_company = Client()
    sign_in(by_company, person(issuer))
    assert by_company.get("/batches/", follow=True).status_code == 200


def test_an_owner_cannot_lock_the_account_with_a_password_session(issuer: str, account: Account) -> None:
    client = Client()
    client.force_login(User.objects.get(email="alice@example.com"))
    fields = {"name": "Ours", "single_sign_on_only": "on"}
    page = client.post(f"/a/{account.uid}/account/settings/", fields, follow=True)
    assert b"Sign in with your company" in page.content
    assert not Account.objects.get(pk=account.pk).single_sign_on_only
    sign_in(client, person(issuer, "alice-1", email="alice@example.com", groups=[]))
    client.post(f"/a/{account.uid}/account/settings/", fields, follow=True)
    assert Account.objects.get(pk=account.pk).single_sign_on_only


def test_signing_out_leads_to_the_provider(issuer: str) -> None:
    client = Client()
    sign_in(client, person(issuer))
    page = client.post("/logout/")
    assert f"{issuer}/oauth2/end_session?id_token_hint=".encode() in page.content
    assert "_auth_user_id" not in client.session


def test_without_a_provider_there_is_no_such_page(settings: Settings) -> None:
    settings.OIDC_ISSUER = ""
    assert Client().get("/login/company/").status_code == 404
    assert b"/login/company/" not in Client().get("/login/").content


def test_the_sign_in_page_has_the_button(issuer: str, settings: Settings) -> None:
    settings.OIDC_LABEL = "Sign in with Hanbit"
    page = Client().get("/login/").content
    assert b"/login/company/" in page
    assert b"Sign in with Hanbit" in page


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another"},
        {"nonce": "another"},
        {"exp": 1},
        {"sub": None},
        {"aud": ["portal", "another"]},
    ],
)
def test_an_id_token_that_is_not_ours_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    key = RSAKey.generate_key(2048)
    documents = {
        "openid-configuration": {
            "issuer": "https://id.example",
            "authorization_endpoint": "https://id.example/a",
            "token_endpoint": "https://id.example/t",
            "jwks_uri": "https://id.example/keys",
        },
        "keys": {"keys": [key.as_dict(private=False)]},
    }
    monkeypatch.setattr(protocol, "_cached", lambda url: documents[url.rpartition("/")[2]])
    settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = "https://id.example", "portal"
    found = configuration.provider()
    assert found is not None
    now = int(time.time())
    good = {
        "iss": "https://id.example",
        "aud": "portal",
        "nonce": "n",
        "sub": "1",
        "iat": now,
        "exp": now + 60,
    }
    token = jwt.encode({"alg": "RS256"}, good, key)
    assert protocol.verified_claims(found, token, nonce="n")["sub"] == "1"
    bad = {name: value for name, value in {**good, **changes}.items() if value is not None}
    with pytest.raises(protocol.BadToken):
        protocol.verified_claims(found, jwt.encode({"alg": "RS256"}, bad, key), nonce="n")
    with pytest.raises(protocol.BadToken):
        protocol.verified_claims(
            found, jwt.encode({"alg": "RS256"}, good, RSAKey.generate_key(2048)), nonce="n"
        )


def test_the_provider_is_reached_by_the_guarded_transport_alone(issuer: str, settings: Settings) -> None:
    settings.OUTBOUND_NETWORKS = []
    answer = Client().get("/login/company/")
    assert answer.status_code == 403
    assert b"does not answer" in answer.content


# --- A gateway's header ------------------------------------------------------------------------------


@pytest.fixture
def gateway(settings: Settings, account: Account) -> None:
    settings.GATEWAY_EMAIL_HEADER, settings.GATEWAY_GROUPS_HEADER = "X-Remote-Email", "X-Remote-Groups"
    settings.GATEWAY_NETWORKS = ["10.1.0.0/16"]
    settings.SSO_GROUPS = [f"callcentre={account.uid}:viewer"]


@pytest.mark.usefixtures("gateway")
def test_a_gateway_signs_people_in_and_out() -> None:
    client = Client(REMOTE_ADDR="10.1.2.3")
    headers = {"X-Remote-Email": "kim@example.com", "X-Remote-Groups": "callcentre, kitchen"}
    assert client.get("/batches/", headers=headers, follow=True).status_code == 200
    assert Membership.objects.get(user__email="kim@example.com").role == "viewer"
    assert client.get("/batches/")["Location"].startswith("/login/")


@pytest.mark.usefixtures("gateway")
def test_the_header_of_anybody_else_is_refused() -> None:
    client = Client(REMOTE_ADDR="10.2.0.1")
    answer = client.get("/batches/", headers={"X-Remote-Email": "alice@example.com"})
    assert answer.status_code == 400
    forwarded = {"X-Remote-Email": "alice@example.com", "X-Forwarded-For": "10.1.2.3"}
    assert client.get("/batches/", headers=forwarded).status_code == 400
