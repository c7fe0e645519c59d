"""Staff create and edit batches and domains by the members' services; limits are form errors, never a 500."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from batches.models import Batch
from domains.models import Domain
from speechportal.accounts.models import Account, AuditEntry
from tests import factories
from tests.admin.staff import signed_in
from tests.clients import Client

pytestmark = pytest.mark.django_db
ADD_BATCH, ADD_DOMAIN = "/admin/batches/batch/add/", "/admin/domains/domain/add/"


@pytest.fixture
def account() -> Account:
    return factories.make_account("Alice’s", batch_limit=2)


def fields(account: Account, **changes: Any) -> dict[str, Any]:
    given = {
        "name": "calls",
        "input_path": "in",
        "result_path": "out",
        "formats": ["json"],
        "language": "ko-KR",
        "priority": "0",
        "webhook_url": "",
        **changes,
    }
    given.setdefault("domain", factories.make_domain(account).pk)
    given.setdefault("connection", factories.make_connection(account).pk)
    return given


def add(client: Client, account: Account, **changes: Any) -> Any:
    return client.post(f"{ADD_BATCH}?account={account.uid}", fields(account, **changes))


def test_a_batch_is_created_by_the_service(account: Account) -> None:
    response = add(signed_in("support"), account)
    assert response.status_code == 302, response.context["errors"]
    batch = Batch.unscoped.get()
    assert (batch.account, batch.input_path, batch.result_path) == (account, "in/", "out/")
    entry = AuditEntry.unscoped.get(action="batch.created")
    assert entry.actor_kind == "staff"
    # The service asks for the first look at the input path.
    from django_q.models import OrmQ

    assert OrmQ.objects.exists()


def test_one_batch_too_many_is_told_kindly(account: Account) -> None:
    for _ in range(2):
        factories.make_batch(account)
    response = add(signed_in("support"), account)
    assert response.status_code == 200
    assert "as many batches as it may have" in response.content.decode()
    assert Batch.unscoped.count() == 2


def test_a_free_domain_is_refused(account: Account) -> None:
    free = factories.make_domain(account, plan=Domain.Plan.FREE)
    response = add(signed_in("support"), account, domain=free.pk)
    assert response.status_code == 200
    assert response.context["adminform"].form.errors["domain"]
    assert not Batch.unscoped.exists()


def test_a_domain_that_has_a_batch_is_refused(account: Account) -> None:
    taken = factories.make_batch(account)
    response = add(signed_in("support"), account, domain=taken.domain_id)
    assert response.status_code == 200
    assert response.context["adminform"].form.errors["domain"]
    assert Batch.unscoped.count() == 1


def test_another_account_s_domain_and_connection_are_no_choice(account: Account) -> None:
    strange = factories.make_batch()
    domain = factories.make_domain(strange.account)
    response = add(signed_in("support"), account, domain=domain.pk, connection=strange.connection_id)
    assert set(response.context["adminform"].form.errors) == {"domain", "connection"}


def test_overlapping_paths_and_a_bad_webhook_are_told(account: Account) -> None:
    first = factories.make_batch(account, input_path="in/")
    response = add(signed_in("support"), account, connection=first.connection_id, input_path="in/deeper")
    assert "overlaps" in response.content.decode()
    account.support_reads_until = timezone.now() + timedelta(days=1)
    account.save()
    response = add(signed_in("support"), account, webhook_url="ftp://receiver.example")
    assert response.context["adminform"].form.errors["webhook_url"]


def test_where_webhooks_go_is_not_staff_s_to_say_unless_it_may_read_transcripts(account: Account) -> None:
    batch = factories.make_batch(account, name="calls", webhook_url="https://receiver.example/hook")
    page = reverse("admin:batches_batch_change", args=[batch.pk])
    given = fields(account, domain=batch.domain_id, connection=batch.connection_id, reason="By mail.")
    given["webhook_url"] = "https://elsewhere.example/hook"
    client = signed_in("administrator")
    assert client.post(page, given).status_code == 302
    batch.refresh_from_db()
    assert batch.webhook_url == "https://receiver.example/hook"
    add(client, account, name="more", webhook_url="https://elsewhere.example/hook")
    assert Batch.unscoped.get(name="more").webhook_url == ""


def test_the_account_is_asked_for_first(account: Account) -> None:
    page = signed_in("support").get(ADD_BATCH)
    assert page.status_code == 200
    assert account.uid in page.content.decode()


def test_editing_asks_why_and_goes_by_the_service(account: Account) -> None:
    batch = factories.make_batch(account, name="calls")
    page = reverse("admin:batches_batch_change", args=[batch.pk])
    given = fields(account, name="talks", domain=batch.domain_id, connection=batch.connection_id)
    client = signed_in("support")
    assert "Say why you change this." in client.post(page, given).content.decode()
    response = client.post(page, {**given, "reason": "Asked for by mail."})
    assert response.status_code == 302
    batch.refresh_from_db()
    assert batch.name == "talks"
    entry = AuditEntry.unscoped.get(action="batch.changed")
    assert entry.changes["name"] == ["calls", "talks"]
    assert entry.reason == "Asked for by mail."


def test_a_deleted_batch_is_only_looked_at(account: Account) -> None:
    batch = factories.make_batch(account)
    client = signed_in("support")
    response = client.post(
        f"/admin/batches/batch/do/delete/?ids={batch.pk}", {"reason": "They left the project."}, follow=True
    )
    assert response.status_code == 200
    batch.refresh_from_db()
    assert batch.is_deleted
    page = reverse("admin:batches_batch_change", args=[batch.pk])
    assert client.get(page).status_code == 200
    assert client.post(page, {"name": "x", "reason": "again"}).status_code == 403


def test_a_domain_is_created_and_edited_with_its_keywords(account: Account) -> None:
    client = signed_in("support")
    given = {"account": account.pk, "name": "Calls", "code": "calls", "plan": "basic", "keywords": "Ada, Bob"}
    text = {
        "forbidden_action": "mask",
        "clova_result": Domain._meta.get_field("clova_result").get_default(),
    }
    given |= text
    assert client.post(ADD_DOMAIN, given).status_code == 302
    domain = Domain.unscoped.get()
    assert list(domain.keywords.values_list("text", flat=True)) == ["Ada", "Bob"]
    page = reverse("admin:domains_domain_change", args=[domain.pk])
    changed = {"name": "Talks", "code": "calls", "plan": "basic", "keywords": "Ada", "reason": "By mail."}
    response = client.post(page, {**changed, **text})
    assert response.status_code == 302
    domain.refresh_from_db()
    assert domain.name == "Talks"
    assert list(domain.keywords.values_list("text", flat=True)) == ["Ada"]
    changes = AuditEntry.unscoped.filter(action="domain.keywords_changed").values_list("changes", flat=True)
    assert list(changes) == [{"keywords": [["Bob"], []]}, {"keywords": [[], ["Ada", "Bob"]]}]


def test_a_domain_s_rules_are_told(account: Account) -> None:
    client = signed_in("support")
    batch = factories.make_batch(account)
    assert batch.domain is not None
    page = reverse("admin:domains_domain_change", args=[batch.domain.pk])
    given = {"name": "x", "code": batch.domain.code, "plan": "free", "keywords": "", "reason": "By mail."}
    response = client.post(page, given)
    assert response.status_code == 200
    assert "cannot become Free" in response.content.decode()
    twice = {"account": account.pk, "name": "x", "code": batch.domain.code, "plan": "basic", "keywords": ""}
    response = client.post(ADD_DOMAIN, twice)
    assert "already exists" in response.content.decode()
    url = f"/admin/domains/domain/do/delete/?ids={batch.domain.pk}"
    response = client.post(url, {"reason": "Not needed."}, follow=True)
    assert "uses this domain" in response.content.decode()
    assert Domain.unscoped.filter(pk=batch.domain.pk).exists()


def test_viewers_and_finance_add_and_edit_nothing(account: Account) -> None:
    batch = factories.make_batch(account)
    for group in ("viewer", "finance"):
        client = signed_in(group)
        assert add(client, account).status_code == 403
        page = reverse("admin:batches_batch_change", args=[batch.pk])
        assert client.post(page, {"name": "x", "reason": "why not"}).status_code == 403
