"""Search of transcripts through the API."""

from __future__ import annotations

from batches.transcripts import corrections
from tests.api.client import Api
from tests.factories import make_batch
from tests.transcripts.test_search_filters import said


def test_the_api_groups_by_file_with_counts(alice: Api, charlie: Api) -> None:
    batch = make_batch(alice.account)
    task = said(batch, "one order", "two orders", "nothing", name="a.wav")
    said(make_batch(alice.account), "an order", name="b.wav")
    corrections.name_speakers(task=task, names={"1": "Kim"}, by=None)
    told = alice.get(f"transcripts?text=order&batch={batch.uid}&since=2020-01-01")
    assert told.status_code == 200, told.content
    [row] = told.json()["results"]
    assert (row["id"], row["name"], row["hits"], row["in_name"]) == (task.uid, "a.wav", 2, False)
    assert (row["batch"], row["language"]) == ({"id": batch.uid, "name": batch.name}, "en")
    assert row["lines"] == [
        {"start": 0, "speaker": "1", "speaker_name": "Kim", "text": "one order"},
        {"start": 1000, "speaker": "2", "speaker_name": "B", "text": "two orders"},
    ]
    [row] = alice.get("transcripts?text=order&speaker=kim").json()["results"]
    assert [line["speaker"] for line in row["lines"]] == ["1"]
    assert [row["name"] for row in alice.get("transcripts?text=order%20-two").json()["results"]] == ["b.wav"]
    assert [row["name"] for row in alice.get("transcripts").json()["results"]] == ["b.wav", "a.wav"]
    assert alice.get("transcripts?text=%22").json()["results"] == []
    assert charlie.get("transcripts").json()["results"] == []
    assert alice.get("transcripts?since=yesterday").status_code == 400
    assert charlie.get(f"transcripts?text=order&batch={batch.uid}").json()["results"] == []
