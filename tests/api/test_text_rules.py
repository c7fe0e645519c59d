"""Text rules of a domain by the API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import MakeApi
from tests.factories import make_account, make_batch, make_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": "  "}, "text"),
        (
            {"replacements": [{"heard": "(a", "written": "b", "is_pattern": True}], "text": "a"},
            "replacements",
        ),
        ({"task": "tsk_none"}, "task"),
        ({"redaction": {"kinds": {"card": "blur"}}, "text": "a"}, "redaction.kinds.card"),
    ],
)
def test_the_api_names_its_own_field(make_api: MakeApi, body: dict[str, Any], field: str) -> None:
    user = make_user()
    domain = make_batch(make_account(owner=user)).domain
    assert domain is not None
    answer = make_api(domain.account, user).post(f"domains/{domain.uid}/text-rules/try", body)
    assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (422, [field])
