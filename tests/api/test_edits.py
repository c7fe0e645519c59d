"""If-Match: edits that would overwrite another member's edit are refused."""

from __future__ import annotations

from batches.models import Task
from tests.api.client import Api
from tests.factories import make_batch, make_domain, make_task


def test_an_edit_of_what_was_changed_meanwhile_is_refused(alice: Api, bob: Api) -> None:
    path = f"domains/{make_domain(alice.account).uid}"
    read = alice.get(path).headers["ETag"]
    assert bob.patch(path, {"name": "Bob's"}).status_code == 200
    refused = alice.patch(path, {"name": "Alice's"}, headers={"If-Match": read})
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert alice.delete(path, headers={"If-Match": read}).status_code == 412
    now = alice.get(path)
    assert now.json()["name"] == "Bob's"
    changed = alice.patch(path, {"name": "Alice's"}, headers={"If-Match": f'"other", {now.headers["ETag"]}'})
    assert changed.status_code == 200
    assert changed.headers["ETag"] == alice.get(path).headers["ETag"]


def test_without_a_condition_or_with_a_star_the_last_one_wins(alice: Api) -> None:
    path = f"domains/{make_domain(alice.account).uid}"
    assert alice.patch(path, {"name": "One"}).status_code == 200
    assert alice.patch(path, {"name": "Two"}, headers={"If-Match": "*"}).status_code == 200


def test_a_batch_that_works_keeps_its_etag(alice: Api) -> None:
    batch = make_batch(alice.account)
    path = f"batches/{batch.uid}"
    read = alice.get(path).headers["ETag"]
    make_task(batch, state=Task.State.FAILED)
    assert alice.get(path).json()["progress"]["failed"] == 1
    assert alice.get(f"{path}?fields=name").headers["ETag"] == read
    assert alice.patch(path, {"speakers": True}, headers={"If-Match": read}).status_code == 200
    assert alice.get(path).headers["ETag"] != read
    refused = alice.patch(path, {"name": "Late"}, headers={"If-Match": read})
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert alice.delete(path, headers={"If-Match": read}).status_code == 412


def test_keywords_are_not_replaced_over_somebody_elses(alice: Api, bob: Api) -> None:
    path = f"domains/{make_domain(alice.account).uid}/keywords"
    read = alice.get(path).headers["ETag"]
    assert bob.put(path, {"keywords": ["bob"]}).status_code == 200
    refused = alice.put(path, {"keywords": ["alice"]}, headers={"If-Match": read})
    assert refused.status_code == 412
    now = alice.get(path)
    assert now.json() == {"keywords": ["bob"]}
    assert alice.put(path, {"keywords": ["alice"]}, headers={"If-Match": now.headers["ETag"]}).json() == {
        "keywords": ["alice"]
    }
