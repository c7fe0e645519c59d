"""Signatures follow Standard Webhooks exactly, as two other implementations verify."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from batches.webhooks import signing

BODIES = st.binary() | st.text().map(str.encode)


def test_the_example_of_the_specification() -> None:
    """https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md and its libraries."""
    signature = signing.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.text(st.characters(min_codepoint=32, categories=("L", "N", "P", "S"))))
def test_the_library_verifies_what_we_sign(text: str) -> None:
    secret, body = signing.new_secret(), text.encode()
    now = int(datetime.now(UTC).timestamp())
    headers = signing.headers([secret], "dlv_1", now, body)
    Webhook(secret).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, {**headers, "webhook-id": "dlv_2"}, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, {**headers, "webhook-timestamp": str(now + 1)}, json_parse=False)


@given(BODIES)
def test_either_of_two_secrets_verifies(body: bytes) -> None:
    old, new = signing.new_secret(), signing.new_secret()
    headers = signing.headers([new, old], "dlv_1", 1, body)
    assert headers["webhook-signature"] == " ".join(
        signing.sign(each, "dlv_1", 1, body) for each in (new, old)
    )


def test_a_secret_is_32_random_bytes_behind_its_prefix() -> None:
    one, other = signing.new_secret(), signing.new_secret()
    assert one != other
    assert one.startswith("whsec_")
    assert len(signing.key_of(one)) == 32


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_!!!",
        f"whsec_{base64.b64encode(b'short').decode()}",
    ],
)
def test_what_is_no_secret_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook secret") as caught:
        signing.key_of(secret)
    assert secret.removeprefix("whsec_") not in str(caught.value) or not secret.removeprefix("whsec_")
