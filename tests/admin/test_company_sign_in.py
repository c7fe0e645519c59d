"""Company sign-in in admin: the secret is hidden, domains are confirmed, locked accounts are opened."""

from __future__ import annotations

import pytest
from django.urls import reverse

from speechportal.accounts.models import Account, AccountProvider, AuditEntry, Membership
from speechportal.accounts.single_sign_on import account_providers
from tests.admin.staff import signed_in
from tests.factories import make_account, make_user

pytestmark = pytest.mark.django_db
SECRET = "a-secret-that-staff-must-not-see"


@pytest.fixture
def provider() -> AccountProvider:
    owner = make_user("alice@hanbit.example", "correct horse battery")
    account = make_account("Hanbit", owner, single_sign_on_only=True)
    row = AccountProvider(
        account=account, issuer="https://id.example", client_id="portal", domains="hanbit.example"
    )
    return account_providers.save(row, secret=SECRET)


def page_of(row: Account | AccountProvider | Membership) -> str:
    return reverse(f"admin:accounts_{row._meta.model_name}_change", args=[row.pk])


def test_the_provider_is_seen_without_its_secret(provider: AccountProvider) -> None:
    page = signed_in("viewer").get(page_of(provider)).content.decode()
    assert "https://id.example" in page
    assert SECRET not in page
    assert provider.encrypted_secret not in page


def test_domains_are_confirmed_with_a_reason(provider: AccountProvider) -> None:
    path = f"/admin/accounts/accountprovider/do/confirm_domains/?ids={provider.pk}"
    assert signed_in("viewer").post(path, {"reason": "Called back."}).status_code in {403, 404}
    signed_in("support").post(path, {"reason": "Called back."})
    provider.refresh_from_db()
    assert provider.proven_domains == {"hanbit.example"}
    assert AuditEntry.unscoped.filter(account=provider.account, reason="Called back.").exists()


def test_an_account_whose_provider_is_gone_is_opened(provider: AccountProvider) -> None:
    account, support = provider.account, signed_in("support")
    shown = support.get(page_of(account)).content.decode()
    assert 'name="single_sign_on_only"' in shown
    fields = {"name": account.name, "time_zone": account.time_zone, "reason": "The provider is gone."}
    assert support.post(page_of(account), fields).status_code == 302
    account.refresh_from_db()
    assert not account.single_sign_on_only


def test_an_owner_is_made_a_break_glass_owner(provider: AccountProvider) -> None:
    membership = Membership.objects.get(account=provider.account)
    support = signed_in("support")
    fields = {"role": "owner", "breaks_glass": "on", "reason": "Asked for by telephone."}
    assert support.post(page_of(membership), fields).status_code == 302
    membership.refresh_from_db()
    assert membership.breaks_glass
    assert "alice@hanbit.example" in support.get(page_of(provider.account)).content.decode()
    other = make_user("kim@hanbit.example")
    owner = Membership.objects.create(account=provider.account, user=other, role="owner")
    refused = support.post(page_of(owner), fields)
    assert "has no password" in refused.content.decode()
