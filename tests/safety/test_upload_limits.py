"""Size limits of requests apply before a request is parsed."""

from __future__ import annotations

import pytest
from django.conf import settings

from domains.models import Keyword
from tests import factories
from tests.clients import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice(client: Client) -> Client:
    user = factories.make_user("alice@example.com")
    factories.make_account(owner=user)
    client.force_login(user)
    client.raise_request_exception = False
    return client


def test_a_form_beyond_the_limit_is_refused(alice: Client) -> None:
    keywords = "x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    response = alice.post("/domains/new/", {"name": "a", "code": "a", "plan": "basic", "keywords": keywords})
    assert response.status_code in {400, 413}
    assert not Keyword.unscoped.exists()


def test_a_form_with_too_many_fields_is_refused(alice: Client) -> None:
    fields = {f"field{number}": "x" for number in range(settings.DATA_UPLOAD_MAX_NUMBER_FIELDS + 1)}
    assert alice.post("/domains/new/", fields).status_code in {400, 413}


def test_the_api_refuses_a_body_beyond_the_limit(client: Client) -> None:
    client.raise_request_exception = False
    body = b'{"name": "' + b"x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1) + b'"}'
    response = client.post("/api/v1/domains", body, content_type="application/json")
    assert 400 <= response.status_code < 500
