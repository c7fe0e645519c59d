"""Forms: concurrent edits, an ended session and a stale CSRF token lose no unseen change."""

from __future__ import annotations

import html
import re
from decimal import Decimal

import pytest
from django.urls import reverse

from batches.models import Batch
from domains.models import Domain
from speechportal.accounts.models import Account, User
from tests.clients import Client
from tests.factories import make_account, make_batch, make_domain, make_user

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"
FIELD = re.compile(
    r'<(?:input|textarea)[^>]*\sname="(?P<name>[^"]+)"[^>]*?(?:\svalue="(?P<value>[^"]*)")?[^>]*>'
)


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com", PASSWORD)


@pytest.fixture
def account(alice: User) -> Account:
    return make_account("Acme", alice)


@pytest.fixture
def browser(alice: User, account: Account) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def version(page: str) -> str:
    found = re.search(r'name="opened_with"[^>]*value="([^"]*)"', page)
    assert found, "the form carries no version"
    return html.unescape(found.group(1))


def settings_form(browser: Client) -> dict[str, str]:
    page = browser.get("/account/settings/").content.decode()
    return {"name": "Acme", "monthly_budget": "", "time_zone": "UTC", "opened_with": version(page)}


def test_two_people_change_two_fields(browser: Client, account: Account) -> None:
    mine, theirs = settings_form(browser), settings_form(browser)
    browser.post("/account/settings/", {**theirs, "monthly_budget": "70"})
    assert browser.post("/account/settings/", {**mine, "name": "Renamed"}).status_code == 302
    account.refresh_from_db()
    assert (account.name, account.monthly_budget) == ("Renamed", Decimal(70))


def shown_versions(page: str) -> list[tuple[str, str, list[str]]]:
    """(name and value of the radio button, lines) of each value of each conflict on a page."""
    found: list[tuple[str, str, list[str]]] = []
    for label in re.findall(r"<label>(.*?)</label>", page.split('class="versions"', 1)[1], re.DOTALL):
        radio = re.search(r'type="radio" name="([^"]+)" value="([^"]+)"', label)
        if radio is not None:
            lines = re.findall(r'<span class="line[^"]*">(.*?)</span>', label, re.DOTALL)
            found.append((radio[1], radio[2], [html.unescape(line) for line in lines]))
    return found


def test_a_conflict_shows_both_and_writes_nothing(browser: Client, account: Account) -> None:
    mine, theirs = settings_form(browser), settings_form(browser)
    browser.post("/account/settings/", {**theirs, "name": "Theirs", "monthly_budget": "70"})
    answer = browser.post("/account/settings/", {**mine, "name": "Mine"})
    page = html.unescape(answer.content.decode())
    assert answer.status_code == 200
    assert shown_versions(answer.content.decode()) == [
        ("keep_name", "yours", ["<mark>Mine</mark>"]),
        ("keep_name", "theirs", ["<mark>Theirs</mark>"]),
    ]
    assert "Nothing of yours is saved yet" in page
    assert 'id="id_name_error"' in page, "the control is described by both values"
    assert 'value="Mine"' in page
    assert 'value="70' in page, "what was not touched is what is there now"
    account.refresh_from_db()
    assert (account.name, account.monthly_budget) == ("Theirs", Decimal(70))
    again = {
        **mine,
        "name": "Mine",
        "monthly_budget": "70.00",
        "opened_with": version(answer.content.decode()),
    }
    assert browser.post("/account/settings/", again).status_code == 302
    account.refresh_from_db()
    assert (account.name, account.monthly_budget) == ("Mine", Decimal(70))


def test_theirs_is_kept_by_choice_and_the_rest_is_written(browser: Client, account: Account) -> None:
    mine, theirs = settings_form(browser), settings_form(browser)
    browser.post("/account/settings/", {**theirs, "name": "Theirs"})
    mine |= {"name": "Mine", "monthly_budget": "70"}
    again = version(browser.post("/account/settings/", mine).content.decode())
    account.refresh_from_db()
    saved: Decimal | None = account.monthly_budget
    assert saved is None, "a form is saved as a whole"
    answer = browser.post("/account/settings/", {**mine, "opened_with": again, "keep_name": "theirs"})
    assert answer.status_code == 302
    account.refresh_from_db()
    assert (account.name, account.monthly_budget) == ("Theirs", Decimal(70))


def test_a_third_person_is_not_overwritten_either(browser: Client, account: Account) -> None:
    mine, theirs = settings_form(browser), settings_form(browser)
    browser.post("/account/settings/", {**theirs, "name": "Theirs"})
    answer = browser.post("/account/settings/", {**mine, "name": "Mine"})
    Account.objects.filter(pk=account.pk).update(name="Third")
    again = {**mine, "name": "Mine", "opened_with": version(answer.content.decode()), "keep_name": "yours"}
    answer = browser.post("/account/settings/", again)
    assert answer.status_code == 200
    assert ("keep_name", "theirs", ["<mark>Third</mark>"]) in shown_versions(answer.content.decode())


def test_text_rules_of_two_people(browser: Client, account: Account) -> None:
    domain = make_domain(account, forbidden_words=["damn"])
    path = reverse("text_rules:page", args=[domain.uid])
    form = {
        "replacements": "",
        "forbidden_words": "damn",
        "forbidden_action": "mask",
        "redact_phone": "",
        "keep_original": "on",
        "opened_with": version(browser.get(path).content.decode()),
    }
    changed = {"replacements": "clover => CLOVA", "redact_phone": "mask"}
    assert browser.post(path, {**form, **changed}).status_code == 302
    mine = {**form, "replacements": "clover => Clova", "forbidden_words": "damn\nhell"}
    answer = browser.post(path, mine)
    assert ("keep_replacements", "theirs", ["<mark>clover => CLOVA</mark>"]) in shown_versions(
        answer.content.decode()
    )
    domain.refresh_from_db()
    assert domain.forbidden_words == ["damn"]
    again = {**mine, "opened_with": version(answer.content.decode()), "redact_phone": "mask"}
    assert browser.post(path, again).status_code == 302
    domain.refresh_from_db()
    assert [str(row) for row in domain.replacements] == ["clover => Clova"]
    assert domain.forbidden_words == ["damn", "hell"]
    assert domain.redaction.kinds == {"phone": "mask"}, "theirs stays"


def test_keywords_of_two_people(browser: Client, account: Account) -> None:
    domain = make_domain(account)
    path = f"/domains/{domain.uid}/"
    opened = version(browser.get(path).content.decode())
    form = {"name": domain.name, "code": domain.code, "plan": "basic", "opened_with": opened}
    browser.post(path, {**form, "keywords": "alpha\nbeta"})
    answer = browser.post(path, {**form, "keywords": "gamma"})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert shown_versions(page) == [
        ("keep_keywords", "yours", ["<mark>gamma</mark>"]),
        ("keep_keywords", "theirs", ["<mark>alpha</mark>", "<mark>beta</mark>"]),
    ]
    kept = Domain.unscoped.get(pk=domain.pk).keywords.values_list("text", flat=True)
    assert sorted(kept) == ["alpha", "beta"]


def test_a_batch_keeps_what_the_other_changed(browser: Client, account: Account) -> None:
    batch = make_batch(account, name="calls")
    path = f"/batches/{batch.uid}/settings/"
    page = browser.get(path).content.decode()
    form = {
        "name": "calls",
        "domain": str(batch.domain_id),
        "connection": str(batch.connection_id),
        "input_path": "in/",
        "result_path": "out/",
        "formats": batch.formats,
        "language": batch.recognition.language,
        "priority": "0",
        "opened_with": version(page),
    }
    Batch.unscoped.filter(pk=batch.pk).update(priority=1)
    assert browser.post(path, {**form, "name": "renamed"}).status_code == 302
    batch.refresh_from_db()
    assert (batch.name, batch.priority) == ("renamed", 1)
    answer = browser.post(path, {**form, "name": "again"})
    assert answer.status_code == 200
    assert ("keep_name", "theirs", ["<mark>renamed</mark>"]) in shown_versions(answer.content.decode())


SAME = {"Sec-Fetch-Site": "same-origin"}


def test_after_the_session_ended_the_form_is_sent_again(account: Account, alice: User) -> None:
    client = Client(headers=SAME)
    path = f"/a/{account.uid}/domains/new/"
    typed = {"name": "Kept “calls”", "code": "calls", "plan": "basic", "keywords": "one\ntwo"}
    answer = client.post(path, typed)
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "Your session has ended" in page
    sealed = re.search(r'name="typed" value="([^"]+)"', page)
    assert sealed
    sign_in = {"username": alice.email, "password": "wrong", "typed": sealed.group(1)}
    assert sealed.group(1) in client.post("/login/", sign_in).content.decode(), (
        "a wrong password loses nothing"
    )
    answer = client.post("/login/", {**sign_in, "password": PASSWORD}, follow=True)
    page = html.unescape(answer.content.decode())
    assert "Kept “calls”" in page
    assert f'action="{path}"' in page
    fields = dict(answer.context["typed"].fields)
    assert client.post(path, fields).status_code == 302
    assert Domain.unscoped.get().name == "Kept “calls”"
    assert "Send again" not in client.get("/send-again/", follow=True).content.decode(), "kept once"


def test_a_stale_token_loses_nothing(account: Account, alice: User) -> None:
    client = Client(enforce_csrf_checks=True, headers=SAME)
    client.force_login(alice)
    typed = {"name": "Typed", "code": "typed", "plan": "basic", "csrfmiddlewaretoken": "x" * 64}
    answer = client.post(f"/a/{account.uid}/domains/new/", typed)
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "Send the form again?" in page
    assert "Forbidden" not in page
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token
    fields = {**dict(answer.context["typed"].fields), "csrfmiddlewaretoken": token.group(1)}
    assert client.post(f"/a/{account.uid}/domains/new/", fields).status_code == 302
    assert Domain.unscoped.get().name == "Typed"


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}]
)
def test_another_site_s_form_is_not_shown(headers: dict[str, str], account: Account, alice: User) -> None:
    client = Client(enforce_csrf_checks=True, headers=headers)
    client.force_login(alice)
    answer = client.post(f"/a/{account.uid}/account/invite/", {"email": "eve@example.com", "role": "owner"})
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "eve@example.com" not in page
    assert "The form was not accepted" in page


def test_passwords_are_typed_again(account: Account, alice: User) -> None:
    client = Client(enforce_csrf_checks=True, headers=SAME)
    client.force_login(alice)
    answer = client.post("/profile/password/", {"old_password": PASSWORD, "new_password1": "another one 99"})
    assert answer.status_code == 403
    assert "another one 99" not in answer.content.decode()
