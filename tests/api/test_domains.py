"""Domains and keywords through the API."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from domains import keyword_use
from domains.keyword_use import Counts
from domains.models import Domain, Keyword
from tests.api.client import Api
from tests.api.conftest import MakeApi
from tests.factories import make_account, make_batch, make_domain, make_user


def test_a_domain_from_its_creation_to_its_deletion(alice: Api) -> None:
    created = alice.post("domains", {"name": "Calls", "code": "calls", "keywords": ["Ryzen", "b, c"]})
    assert created.status_code == 201, created.content
    domain = created.json()
    assert domain["id"].startswith("dom_")
    assert (domain["name"], domain["plan"], domain["keyword_count"]) == ("Calls", "basic", 3)
    assert domain["batch"] is None
    assert created.headers["Location"] == f"/api/v1/domains/{domain['id']}"
    assert created.headers["ETag"]

    read = alice.get(created.headers["Location"])
    assert read.status_code == 200
    assert read.json() == domain
    assert read.headers["ETag"] == created.headers["ETag"]

    changed = alice.patch(f"domains/{domain['id']}", {"name": "Phone calls"})
    assert changed.status_code == 200, changed.content
    assert changed.json()["name"] == "Phone calls"
    assert changed.json()["keyword_count"] == 3
    assert changed.headers["ETag"] != created.headers["ETag"]

    assert alice.delete(f"domains/{domain['id']}").status_code == 204
    assert alice.get(f"domains/{domain['id']}").status_code == 404
    assert not Domain.unscoped.exists()


def test_all_wrong_fields_are_told_at_once_and_unknown_ones_too(alice: Api) -> None:
    answer = alice.post("domains", {"code": 7, "plan": "gold", "colour": "red"})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "validation_failed"
    assert {(each["field"], each["code"]) for each in problem["errors"]} == {
        ("name", "required"),
        ("code", "invalid"),
        ("plan", "invalid_choice"),
        ("colour", "unknown_field"),
    }
    assert problem["request_id"] == answer.headers["X-Request-ID"]


def test_a_rule_of_one_field_does_not_hide_that_of_another(alice: Api) -> None:
    answer = alice.post("domains", {"name": "x" * 101, "code": "é"})
    assert {each["field"] for each in answer.json()["errors"]} == {"name", "code"}
    answer = alice.post("domains", {"name": "x" + " " * 100, "code": "x"})
    assert [(each["field"], each["code"]) for each in answer.json()["errors"]] == [("name", "max_length")]


def test_the_rules_are_those_of_the_portal(alice: Api) -> None:
    make_domain(alice.account, code="Calls")
    answer = alice.post("domains", {"name": "Calls", "code": "calls"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": "code", "code": "domain_code_unique", "message": "A domain with this code already exists."}
    ]


def test_a_domain_with_a_batch_is_not_deleted(alice: Api) -> None:
    batch = make_batch(alice.account)
    assert batch.domain is not None
    answer = alice.delete(f"domains/{batch.domain.uid}")
    assert answer.status_code == 409
    assert answer.json()["code"] == "domain_in_use"
    assert batch.name in answer.json()["detail"]
    assert alice.get(f"domains/{batch.domain.uid}").json()["batch"] == {"id": batch.uid, "name": batch.name}


def test_lists_are_filtered_ordered_paged_and_made_small(alice: Api) -> None:
    for number in range(5):
        make_domain(alice.account, name=f"Name {number}", code=f"code-{number}")
    make_domain(alice.account, name="Free one", code="free", plan="free")
    seen: list[str] = []
    address = "domains?page_size=2&ordering=-name&fields=name"
    while address:
        page = alice.get(address).json()
        assert len(page["results"]) <= 2
        assert all(set(row) == {"id", "name"} for row in page["results"])
        seen += [row["name"] for row in page["results"]]
        address = (page["next"] or "").replace("http://testserver", "")
    assert seen == ["Name 4", "Name 3", "Name 2", "Name 1", "Name 0", "Free one"]
    assert [row["code"] for row in alice.get("domains?q=CODE-3").json()["results"]] == ["code-3"]
    assert [row["code"] for row in alice.get("domains?plan=free").json()["results"]] == ["free"]
    assert len(alice.get("domains?free_for_batch=true").json()["results"]) == 5


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("colour=red", "colour"),
        ("page_size=0", "page_size"),
        ("page_size=many", "page_size"),
        ("ordering=secret", "ordering"),
        ("fields=name,secret", "fields"),
        ("cursor=nonsense", "cursor"),
        ("plan=gold", "plan"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused(alice: Api, query: str, field: str) -> None:
    make_domain(alice.account)
    answer = alice.get(f"domains?{query}")
    assert answer.status_code == 400, answer.content
    assert answer.json()["code"] == "invalid_parameters"
    assert [each["field"] for each in answer.json()["errors"]] == [field]


def test_a_list_costs_the_same_however_long_it_is(
    alice: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _number in range(3):
        make_batch(alice.account)
    # token, membership, count of the request, domains
    with django_assert_num_queries(4):
        assert len(alice.get("domains").json()["results"]) == 3
    for _number in range(5):
        make_domain(alice.account)
    with django_assert_num_queries(4):
        assert len(alice.get("domains").json()["results"]) == 8


def test_keywords_are_replaced_added_removed_uploaded_and_downloaded(alice: Api) -> None:
    domain = make_domain(alice.account, code="calls")
    path = f"domains/{domain.uid}/keywords"
    assert alice.get(path).json() == {"keywords": []}
    assert alice.put(path, {"keywords": ["beta", "alpha", "Alpha"]}).json() == {"keywords": ["alpha", "beta"]}
    assert alice.post(path, {"keywords": ["gamma", "BETA"]}).json() == {
        "keywords": ["alpha", "beta", "gamma"]
    }
    assert alice.post(f"{path}/remove", {"keywords": ["ALPHA", "unknown"]}).json() == {
        "keywords": ["beta", "gamma"]
    }
    uploaded = alice.send(
        "PUT", f"{path}.txt", None, data="갤럭시 버즈\nfoo, bar\n".encode(), content_type="text/plain"
    )
    assert uploaded.status_code == 200, uploaded.content
    assert uploaded.json() == {"keywords": ["bar", "foo", "갤럭시 버즈"]}
    wrong = alice.send("PUT", f"{path}.txt", None, data=b"x" * 101, content_type="text/plain")
    assert [each["field"] for each in wrong.json()["errors"]] == ["keywords"]
    file = alice.get(f"{path}.txt")
    assert file.content.decode() == "bar\nfoo\n갤럭시 버즈\n"
    assert "calls-keywords.txt" in file.headers["Content-Disposition"]


@pytest.mark.parametrize(
    "keywords", [["x" * 101], ["a\0b"], [f"word {number}" for number in range(1001)], "word", [7], None]
)
def test_keywords_that_cannot_be_taken_change_nothing(alice: Api, keywords: Any) -> None:
    domain = make_domain(alice.account)
    Keyword.unscoped.create(domain=domain, text="kept")
    for send, path in ((alice.put, "keywords"), (alice.post, "keywords")):
        answer = send(f"domains/{domain.uid}/{path}", {"keywords": keywords})
        assert answer.status_code == 422, answer.content
    assert alice.put(f"domains/{domain.uid}/keywords", '"a string"').status_code == 422
    assert list(Keyword.unscoped.values_list("text", flat=True)) == ["kept"]


def test_added_keywords_count_with_those_that_are_there(alice: Api) -> None:
    domain = make_domain(alice.account)
    Keyword.unscoped.bulk_create(Keyword(domain=domain, text=f"word {number}") for number in range(1000))
    answer = alice.post(f"domains/{domain.uid}/keywords", {"keywords": ["one more"]})
    assert answer.status_code == 422
    assert "1001 keywords" in answer.json()["detail"]
    assert Keyword.unscoped.count() == 1000


def test_strangers_find_nothing(alice: Api, charlie: Api) -> None:
    domain = make_domain(alice.account, code="secret")
    assert charlie.get("domains").json()["results"] == []
    for method, path in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/keywords"),
        ("PUT", "/keywords"),
        ("POST", "/keywords"),
        ("POST", "/keywords/remove"),
        ("GET", "/keywords.txt"),
    ]:
        answer = charlie.send(method, f"domains/{domain.uid}{path}", {} if method == "PATCH" else None)
        assert answer.status_code == 404, (method, path, answer.content)
        assert "secret" not in answer.content.decode()
    assert Domain.unscoped.filter(pk=domain.pk).exists()


def test_redaction_is_changed_as_a_whole(alice: Api) -> None:
    address = f"domains/{make_domain(alice.account).uid}"
    first = {"kinds": {"card": "mask"}, "keep_original": False, "muted_copy": True, "userdata": True}
    assert alice.patch(address, {"redaction": first}).json()["redaction"] == first
    changed = alice.patch(address, {"redaction": {"kinds": {"phone": "label"}}})
    assert changed.status_code == 200, changed.content
    second = {"kinds": {"phone": "label"}, "keep_original": True, "muted_copy": False, "userdata": False}
    assert changed.json()["redaction"] == second
    refused = alice.patch(address, {"redaction": {"colour": "red", "muted_copy": 1}})
    assert refused.status_code == 422
    assert {(each["field"], each["code"]) for each in refused.json()["errors"]} == {
        ("redaction.kinds", "required"),
        ("redaction.colour", "unknown_field"),
        ("redaction.muted_copy", "invalid"),
    }
    assert alice.get(address).json()["redaction"] == second


def test_how_keywords_were_used_lately(alice: Api, vera: Api) -> None:
    uid = alice.post("domains", {"name": "Calls", "code": "calls", "keywords": ["Ann", "Bob"]}).json()["id"]
    domain = Domain.unscoped.get()
    keyword_use.note(domain, {"Bob": Counts(heard=2, refused=1)})
    ann, bob = vera.get(f"domains/{uid}/keywords/use").json()
    assert (ann["keyword"], ann["heard"], ann["last_heard"]) == ("Ann", 0, None)
    assert (bob["heard"], bob["accepted"], bob["refused"]) == (2, 0, 1)
    assert (bob["last_accepted"], bob["last_refused"]) == (None, bob["last_heard"])


def test_how_keywords_were_used_is_hidden_from_strangers(alice: Api, make_api: MakeApi) -> None:
    stranger = make_account(owner=(user := make_user()))
    theirs = make_domain(stranger)
    assert make_api(stranger, user).get(f"domains/{theirs.uid}/keywords/use").status_code == 200
    assert alice.get(f"domains/{theirs.uid}/keywords/use").status_code == 404
