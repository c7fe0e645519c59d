"""Admin actions: through members' services, with a reason, in the audit trail."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone

from batches.models import Adjustment, Batch, Charge, Delivery, Task
from batches.models.ledger import ImmutableRow
from batches.webhooks import endpoint
from speechportal.accounts.models import Account, AuditEntry, User
from speechportal.accounts.sign_in import second_factor
from speechportal.accounts.tokens import api_tokens
from tests import factories
from tests.admin.staff import member_of, signed_in
from tests.clients import Client

pytestmark = pytest.mark.django_db
REASON = "They asked for it by mail."


def act(client: Client, row: models.Model, action: str, **answers: Any) -> Any:
    url = f"/admin/{row._meta.app_label}/{row._meta.model_name}/do/{action}/?ids={row.pk}"
    return client.post(url, {"reason": REASON, **answers}, follow=True)


def last_entry(action: str) -> AuditEntry:
    entry = AuditEntry.unscoped.filter(action=action).order_by("pk").last()
    assert entry is not None
    assert (entry.reason, entry.actor_kind) == (REASON, "staff")
    return entry


def test_the_batch_limit_is_raised_and_a_batch_more_fits() -> None:
    account = factories.make_account(batch_limit=0)
    act(signed_in("support"), account, "batch_limit", batch_limit="3")
    account.refresh_from_db()
    assert account.batch_limit == 3
    assert last_entry("account.changed").changes == {"batch_limit": [0, 3]}
    factories.make_batch(account)


def test_price_and_budget_are_finance_s() -> None:
    account = factories.make_account()
    for group in ("viewer", "support"):
        assert act(signed_in(group), account, "price", price_per_file="0").status_code == 403
    finance = signed_in("finance")
    act(finance, account, "price", price_per_file="0.25")
    act(finance, account, "budget", monthly_budget="100")
    account.refresh_from_db()
    assert (account.price_per_file, account.monthly_budget) == (Decimal("0.25"), Decimal(100))
    act(finance, account, "budget", monthly_budget="")
    account.refresh_from_db()
    assert account.monthly_budget is None
    assert (
        "greater than or equal to 0" in act(finance, account, "price", price_per_file="-1").content.decode()
    )


def test_suspending_holds_the_account_and_restoring_lets_it_go() -> None:
    batch = factories.make_batch()
    support = signed_in("support")
    act(support, batch.account, "suspend")
    batch.refresh_from_db()
    assert (batch.status, batch.cause_code) == (Batch.Status.ERROR, "account_suspended")
    assert last_entry("account.suspended").account == batch.account
    act(support, batch.account, "restore")
    batch.refresh_from_db()
    assert batch.status == Batch.Status.NORMAL
    assert last_entry("account.restored").account == batch.account


def test_tasks_are_retried_and_cancelled() -> None:
    batch = factories.make_batch()
    failed, waiting = factories.make_task(batch, state="failed"), factories.make_task(batch)
    support = signed_in("support")
    act(support, failed, "retry")
    act(support, waiting, "cancel")
    failed.refresh_from_db()
    waiting.refresh_from_db()
    assert (failed.state, waiting.state) == (Task.State.WAITING, Task.State.CANCELLED)
    assert last_entry("task.retried").target_uid == failed.uid
    assert last_entry("task.cancelled").target_uid == waiting.uid


def test_a_refusal_of_the_service_is_shown() -> None:
    task = factories.make_task(factories.make_batch(), state="completed")
    response = act(signed_in("support"), task, "cancel")
    assert "has ended already" in response.content.decode()
    assert not AuditEntry.unscoped.filter(action="task.cancelled").exists()


def test_several_are_done_at_once_each_by_itself() -> None:
    batch = factories.make_batch()
    tasks = [factories.make_task(batch, state=state) for state in ("failed", "completed", "failed")]
    client = signed_in("support")
    chosen = client.post(
        "/admin/batches/task/", {"action": "retry", "_selected_action": [task.pk for task in tasks]}
    )
    page = client.get(chosen["Location"])
    assert all(task.uid in page.content.decode() for task in tasks)
    client.post(chosen["Location"], {"reason": REASON})
    states = [Task.unscoped.get(pk=task.pk).state for task in tasks]
    assert states == ["waiting", "completed", "waiting"]


def test_without_a_reason_nothing_is_done() -> None:
    task = factories.make_task(factories.make_batch())
    response = act(signed_in("support"), task, "cancel", reason=" ")
    assert response.status_code == 200
    task.refresh_from_db()
    assert task.state == Task.State.WAITING


def test_poll_now_pause_resume_and_the_batch_s_tasks() -> None:
    batch = factories.make_batch()
    factories.make_task(batch, state="failed")
    factories.make_task(batch)
    support = signed_in("support")
    for action, entry in [
        ("poll", "batch.polled"),
        ("pause", "batch.changed"),
        ("resume", "batch.changed"),
        ("retry_failed", "batch.retried"),
        ("cancel_waiting", "batch.cancelled"),
    ]:
        act(support, batch, action)
        assert last_entry(entry).target_uid == batch.uid
    assert set(Task.unscoped.values_list("state", flat=True)) == {"cancelled"}


def test_a_webhook_secret_is_rotated_and_not_shown() -> None:
    batch = factories.make_batch(webhook_url="https://receiver.example/hook")
    endpoint.address_changed(batch)
    before = batch.webhook.encrypted_secret
    page = act(signed_in("support"), batch, "rotate_webhook_secret").content.decode()
    batch.webhook.refresh_from_db()
    assert batch.webhook.encrypted_secret != before
    assert "whsec_" not in page
    assert last_entry("batch.secret_rotated").changes == {}


def test_a_delivery_is_sent_again() -> None:
    batch = factories.make_batch(webhook_url="https://receiver.example/hook")
    endpoint.address_changed(batch)
    delivery = endpoint_delivery(batch)
    act(signed_in("support"), delivery, "redeliver")
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.WAITING
    assert last_entry("delivery.redelivered").account == batch.account


def endpoint_delivery(batch: Batch) -> Delivery:
    from django.utils import timezone

    return Delivery.unscoped.create(
        account=batch.account,
        batch=batch,
        event="webhook.test",
        about=batch.uid,
        payload="{}",
        state=Delivery.State.FAILED,
        ended_at=timezone.now(),
    )


def test_a_token_is_revoked() -> None:
    alice = factories.make_user("alice@example.com")
    token, plain = api_tokens.create_token(
        account=factories.make_account(owner=alice), created_by=alice, name="build", scopes=["read"]
    )
    act(signed_in("support"), token, "revoke")
    found = api_tokens.find_token(plain)
    assert found is not None
    assert found.revoked_at is not None


def make_charge(**fields: Any) -> Charge:
    batch = factories.make_batch()
    task = factories.make_task(batch, state="completed")
    given = {"amount": Decimal(1), "currency": "USD", "media_duration": 1, **fields}
    return Charge.unscoped.create(
        account=batch.account, batch=batch, task=task, batch_name="b", input_name="a", **given
    )


def test_a_charge_is_corrected_by_a_row_of_its_own() -> None:
    charge = make_charge()
    finance = signed_in("finance")
    act(finance, charge, "adjust", amount="-0.4")
    adjustment = Adjustment.unscoped.get()
    assert (adjustment.amount, adjustment.currency, adjustment.reason) == (Decimal("-0.4"), "USD", REASON)
    assert last_entry("charge.corrected").target_uid == charge.uid
    charge.refresh_from_db()
    assert charge.amount == 1
    response = act(finance, charge, "adjust", amount="-0.7")
    assert "No more can be given back" in response.content.decode()
    assert Adjustment.unscoped.count() == 1


def test_nobody_changes_a_charge_or_a_correction() -> None:
    charge = make_charge()
    act(signed_in("finance"), charge, "adjust", amount="-1")
    adjustment = Adjustment.unscoped.get()
    page = f"/admin/batches/charge/{charge.pk}/change/"
    for group in ("support", "finance", "administrator"):
        assert signed_in(group).post(page, {"amount": "0"}).status_code == 403
    adjustment.amount = Decimal(5)
    with pytest.raises(ImmutableRow):
        adjustment.save()
    with pytest.raises(ImmutableRow):
        Adjustment.unscoped.filter(pk=adjustment.pk).update(amount=5)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE batches_adjustment SET amount = 5")


def test_a_lost_authenticator_app_is_taken_away_by_an_administrator() -> None:
    lost = member_of("support")
    app = second_factor.begin(lost.pk)
    app.confirmed_at = app.created_at
    app.save()
    assert act(signed_in("support"), lost, "reset_two_factor").status_code == 403
    act(signed_in("administrator"), lost, "reset_two_factor")
    assert second_factor.app_of(lost.pk) is None


def test_a_person_is_signed_out_everywhere() -> None:
    alice = factories.make_user("alice@example.com")
    theirs = Client()
    theirs.force_login(alice)
    act(signed_in("viewer"), alice, "end_sessions")
    assert theirs.get("/profile/").status_code == 200
    act(signed_in("support"), alice, "end_sessions")
    assert theirs.get("/profile/").status_code == 302
    assert last_entry("user.sessions_ended").changes == {"sessions": [None, 1]}


def test_only_an_administrator_makes_staff_and_only_a_superuser_a_superuser() -> None:
    alice = factories.make_user("alice@example.com")
    page = f"/admin/accounts/user/{alice.pk}/change/"
    given = {
        "first_name": "Alice",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "reason": REASON,
    }
    signed_in("support").post(page, given)
    assert not User.objects.get(pk=alice.pk).is_staff
    response = signed_in("administrator").post(page, given)
    assert response.status_code == 302, response.context["errors"]
    changed = User.objects.get(pk=alice.pk)
    assert (changed.is_staff, changed.is_superuser) == (True, False)
    # And from then on somebody of the support group changes nothing of hers.
    assert signed_in("support").post(page, {**given, "first_name": "X"}).status_code == 403
    assert signed_in("support").post(f"/admin/accounts/user/{alice.pk}/password/", {}).status_code == 403


def test_the_last_owner_is_neither_removed_nor_made_something_else() -> None:
    alice = factories.make_user("alice@example.com")
    account = factories.make_account(owner=alice)
    owner = account.memberships.get()
    support = signed_in("support")
    assert "needs an owner" in act(support, owner, "remove").content.decode()
    page = f"/admin/accounts/membership/{owner.pk}/change/"
    response = support.post(page, {"role": "viewer", "reason": REASON})
    assert "needs an owner" in response.content.decode()
    bob = factories.add_member(account, factories.make_user("bob@example.com"), "owner")
    assert support.post(page, {"role": "viewer", "reason": REASON}).status_code == 302
    assert last_entry("membership.changed").changes == {"role": ["owner", "viewer"]}
    owner.refresh_from_db()
    act(support, owner, "remove")
    assert list(account.memberships.all()) == [bob]
    assert last_entry("membership.deleted").account == account


def test_staff_cannot_become_a_member_to_read_what_was_said() -> None:
    alice = factories.make_user("alice@example.com", "a long enough password")
    account = factories.make_account(owner=alice)
    before = alice.password
    for group in ("support", "administrator"):
        client = signed_in(group)
        staff = User.objects.filter(is_staff=True).last()
        assert staff is not None
        User.objects.filter(pk=staff.pk).update(email_verified_at=timezone.now())
        new = {"account": account.pk, "user": staff.pk, "role": "owner"}
        response = client.post("/admin/accounts/membership/add/", new)
        assert "has an owner, who can invite people" in response.content.decode()
        passwords = {
            "password1": "another long one 7",
            "password2": "another long one 7",
            "usable_password": "true",
        }
        assert client.post(f"/admin/accounts/user/{alice.pk}/password/", passwords).status_code == 403
        page = f"/admin/accounts/user/{alice.pk}/change/"
        client.post(
            page, {"email": "mine@example.com", "first_name": "A", "is_active": "on", "reason": REASON}
        )
    alice.refresh_from_db()
    assert (alice.email, alice.password) == ("alice@example.com", before)
    assert account.memberships.count() == 1


def test_staff_makes_an_account_s_first_owner() -> None:
    client = signed_in("support")
    client.post("/admin/accounts/account/add/", {"name": "New", "batch_limit": "10", "time_zone": "UTC"})
    passwords = {
        "password1": "another long one 7",
        "password2": "another long one 7",
        "usable_password": "true",
    }
    client.post("/admin/accounts/user/add/", {"email": "new@example.com", **passwords})
    account, owner = Account.objects.get(name="New"), User.objects.get(email="new@example.com")
    assert not owner.is_staff
    User.objects.filter(pk=owner.pk).update(email_verified_at=timezone.now())
    new = {"account": account.pk, "user": owner.pk, "role": "owner"}
    assert client.post("/admin/accounts/membership/add/", new).status_code == 302
    assert account.memberships.get().user == owner
