"""Invitations: a link that works once, for one e-mail address."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from speechportal.accounts import addresses
from speechportal.accounts.members import invitations
from speechportal.accounts.members.invitations import Invitation
from speechportal.accounts.members.views import JoinForm
from speechportal.accounts.models import Account, Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_user

pytestmark = pytest.mark.django_db
PASSWORD = "a-long-enough-one-7"


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com")


@pytest.fixture
def account(alice: User) -> Account:
    return make_account("Alice’s", alice)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def invited(account: Account, alice: User, email: str = "dora@example.com", role: str = "manager") -> str:
    return invitations.invite(account=account, email=email, role=role, by=alice)[1]


def test_somebody_new_joins_with_a_password(account: Account, alice: User) -> None:
    path = reverse("accept_invitation", args=[invited(account, alice)])
    client = Client()
    assert "Alice’s" in client.get(path).content.decode()
    response = client.post(path, {"password1": PASSWORD, "password2": PASSWORD, "first_name": "Dora"})
    assert response["Location"] == addresses.path(account.uid, "home")
    dora = User.objects.get(email="dora@example.com")
    assert Membership.objects.get(user=dora).role == "manager"
    assert dora.check_password(PASSWORD)
    assert client.get(reverse("home")).status_code == 200


def test_a_name_is_asked_and_shown_in_its_order(account: Account, alice: User) -> None:
    path = reverse("accept_invitation", args=[invited(account, alice)])
    for language, first, second in (("ko", "last_name", "first_name"), ("en", "first_name", "last_name")):
        page = Client(headers={"Accept-Language": language}).get(path).content.decode()
        assert page.index(f'name="{first}"') < page.index(f'name="{second}"')
    assert User(first_name="길동", last_name="홍").get_full_name() == "홍길동"
    assert User(first_name="길동").get_full_name() == "길동"
    assert User(first_name="Gildong", last_name="Hong").get_full_name() == "Gildong Hong"
    assert User(first_name="길동", last_name="Hong").get_full_name() == "길동 Hong"
    assert User().get_full_name() == ""


def test_a_link_works_once(account: Account, alice: User) -> None:
    token = invited(account, alice)
    dora = make_user("dora@example.com")
    path = reverse("accept_invitation", args=[token])
    assert signed_in(dora).post(path).status_code == 302
    assert signed_in(dora).get(path).status_code == 404
    assert Membership.objects.filter(account=account, user=dora).count() == 1


def test_somebody_new_who_accepts_twice_at_once_is_one_member(
    account: Account, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = reverse("accept_invitation", args=[invited(account, alice)])
    fields = {"password1": PASSWORD, "password2": PASSWORD, "first_name": "Dora"}
    check, began, first = JoinForm.is_valid, list[bool](), list[str]()

    def check_after_the_other_request(form: JoinForm) -> bool:
        if not began:
            began.append(True)
            first.append(Client().post(path, fields)["Location"])
        return check(form)

    monkeypatch.setattr(JoinForm, "is_valid", check_after_the_other_request)
    second = Client().post(path, fields)
    assert first == [addresses.path(account.uid, "home")]
    assert (second.status_code, second["Location"]) == (302, path)
    assert Membership.objects.filter(account=account, user__email="dora@example.com").count() == 1


def test_a_link_fits_one_address(account: Account, alice: User) -> None:
    path = reverse("accept_invitation", args=[invited(account, alice)])
    mallory = make_user("mallory@example.com")
    signed_in(mallory).post(path)
    assert not Membership.objects.filter(user=mallory).exists()
    assert Invitation.unscoped.get().accepted_at is None


def test_somebody_known_is_asked_to_sign_in(account: Account, alice: User) -> None:
    make_user("dora@example.com", PASSWORD)
    path = reverse("accept_invitation", args=[invited(account, alice)])
    Client().post(path, {"password1": "another-one-8", "password2": "another-one-8"})
    assert User.objects.get(email="dora@example.com").check_password(PASSWORD)
    assert not Membership.objects.filter(user__email="dora@example.com").exists()


def test_an_expired_link_is_closed_and_makes_room(account: Account, alice: User) -> None:
    token = invited(account, alice)
    Invitation.unscoped.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert Client().get(reverse("accept_invitation", args=[token])).status_code == 404
    again = invited(account, alice)
    assert Client().get(reverse("accept_invitation", args=[again])).status_code == 200


def test_an_address_is_invited_once(account: Account, alice: User) -> None:
    invited(account, alice)
    with pytest.raises(ValidationError, match="invited already"):
        invited(account, alice, "Dora@example.com")
    with pytest.raises(ValidationError, match="member already"):
        invited(account, alice, "alice@example.com")


def test_the_link_is_shown_once_and_its_token_is_nowhere_kept(account: Account, alice: User) -> None:
    client = signed_in(alice)
    shown = client.post(reverse("account_invite"), {"email": "dora@example.com", "role": "viewer"})
    found = re.search(r"/invitations/([\w-]+)/", shown.content.decode())
    assert found is not None
    assert found[1] not in client.get(reverse("account_members")).content.decode()
    assert found[1] not in str(Invitation.unscoped.values().get())


def test_the_link_is_mailed_where_mail_is_set_up(account: Account, alice: User, settings: Settings) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    client = signed_in(alice)
    client.post(reverse("account_invite"), {"email": "dora@example.com", "role": "viewer"})
    assert mail.outbox[0].to == ["dora@example.com"]
    assert "/invitations/" in mail.outbox[0].body


@pytest.mark.parametrize("role", ["viewer", "manager"])
def test_only_owners_invite(account: Account, role: str) -> None:
    bob = make_user("bob@example.com")
    add_member(account, bob, role)
    response = signed_in(bob).post(reverse("account_invite"), {"email": "x@example.com", "role": "owner"})
    assert response.status_code == 403
    assert not Invitation.unscoped.exists()


def test_the_last_owner_stays(account: Account, alice: User) -> None:
    own = Membership.objects.get(user=alice)
    client = signed_in(alice)
    client.post(reverse("account_role", args=[own.pk]), {"role": "viewer"})
    client.post(reverse("account_remove", args=[own.pk]))
    assert Membership.objects.get(user=alice).role == "owner"


def test_an_invitation_can_be_withdrawn(account: Account, alice: User) -> None:
    token = invited(account, alice)
    signed_in(alice).post(reverse("account_withdraw", args=[Invitation.unscoped.get().uid]))
    assert Client().get(reverse("accept_invitation", args=[token])).status_code == 404
