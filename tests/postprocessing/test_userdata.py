"""User data of CLOVA requests is redacted before it is stored, if the domain requires it."""

from __future__ import annotations

import pytest

from batches.compat.clova import parameters
from batches.postprocessing.detection import KINDS
from batches.postprocessing.transcript import redacted_values
from domains.redaction import RedactionSettings
from tests.factories import make_batch

MASKING = dict.fromkeys(KINDS, "mask")
SENT = {
    "caller": "010-2345-6789",
    "note": {"phone": "call 010 2345 6789 back", "tags": ["kim@example.com", True, None, 7]},
    "order": "20261127001",
}
REDACTED = {
    "caller": "****",
    "note": {"phone": "call **** back", "tags": ["****", True, None, 7]},
    "order": "20261127001",
}


def test_texts_and_numbers_of_a_json_value_are_redacted() -> None:
    assert redacted_values(SENT, MASKING) == REDACTED
    assert redacted_values({"card": 4539578763621486}, MASKING) == {"card": "****"}
    assert redacted_values(SENT, {"email": "label"})["caller"] == "010-2345-6789"


@pytest.mark.django_db
def test_a_request_is_redacted_only_where_the_domain_asks() -> None:
    batch = make_batch()
    domain = batch.domain
    assert domain is not None
    domain.redaction = RedactionSettings(kinds=MASKING)
    assert parameters.parse({"userdata": SENT}, batch).answer["userdata"] == SENT
    domain.redaction = RedactionSettings(kinds=MASKING, userdata=True)
    assert parameters.parse({"userdata": SENT}, batch).answer["userdata"] == REDACTED
