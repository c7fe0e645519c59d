"""A batch's webhook secret: encrypted, shown once, replaced without a gap."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ValidationError
from pytest_django.fixtures import Settings
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from batches.models import Webhook
from batches.webhooks import endpoint, signing
from speechportal.encryption import WrongOwner
from tests.factories import make_batch
from tests.webhooks.conftest import Clock
from tests.webhooks.makers import make_delivery, make_hooked_batch
from tests.webhooks.receiver import Received, receiving

pytestmark = pytest.mark.django_db


def accepts(secret: str, message: Received) -> bool:
    try:
        Verifier(secret).verify(message.body, message.headers)
    except WebhookVerificationError:
        return False
    return True


def test_each_batch_has_its_own_secret_and_shows_it_once() -> None:
    one, other = make_hooked_batch("http://127.0.0.1/"), make_hooked_batch("http://127.0.0.1/")
    secret = endpoint.show_secret_once(batch=one)
    assert secret != endpoint.show_secret_once(batch=other)
    assert len(signing.key_of(secret)) == 32
    with pytest.raises(ValidationError) as caught:
        endpoint.show_secret_once(batch=one)
    assert caught.value.code == "secret_already_shown"
    assert secret not in str(Webhook.unscoped.filter(batch=one).values())


def test_a_ciphertext_of_another_batch_is_refused() -> None:
    one, other = make_hooked_batch("http://127.0.0.1/"), make_hooked_batch("http://127.0.0.1/")
    stolen = endpoint.for_batch(one)
    Webhook.unscoped.filter(batch=other).update(encrypted_secret=stolen.encrypted_secret)
    with pytest.raises(WrongOwner):
        endpoint.show_secret_once(batch=other)


def test_both_secrets_sign_for_a_day_and_then_the_new_one_alone(clock: Clock) -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url)
        old = endpoint.show_secret_once(batch=batch)
        endpoint.rotate_secret(batch=batch)
        new = endpoint.show_secret_once(batch=batch)
        assert new != old
        make_delivery(batch)
        clock.send()
        (message,) = receiver.received
        assert len(message.headers["webhook-signature"].split(" ")) == 2
        assert accepts(old, message)
        assert accepts(new, message)

        Webhook.unscoped.filter(batch=batch).update(previous_until=clock())
        make_delivery(batch)
        clock.send()
        message = receiver.received[-1]
        assert accepts(new, message)
        assert not accepts(old, message)
    assert endpoint.forget_ended_secrets() == 1
    assert Webhook.unscoped.get(batch=batch).encrypted_previous_secret == ""
    assert endpoint.forget_ended_secrets() == 0


def test_the_previous_secret_signs_for_24_hours() -> None:
    batch = make_hooked_batch("http://127.0.0.1/")
    endpoint.rotate_secret(batch=batch)
    webhook = Webhook.unscoped.get(batch=batch)
    assert webhook.previous_until is not None
    assert 86390 < (webhook.previous_until - webhook.created_at).total_seconds() < 86410


def test_new_encryption_keys_take_over_both_secrets(settings: Settings) -> None:
    batch = make_hooked_batch("http://127.0.0.1/")
    endpoint.rotate_secret(batch=batch)
    webhook = Webhook.unscoped.select_related("batch__account").get(batch=batch)
    assert webhook.previous_until is not None
    before = endpoint.signing_secrets(webhook, webhook.created_at)
    fresh = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [fresh, *settings.ENCRYPTION_KEYS]
    assert endpoint.rotate_encryption() == 1
    settings.ENCRYPTION_KEYS = [fresh]
    webhook.refresh_from_db()
    assert endpoint.signing_secrets(webhook, webhook.created_at) == before
    assert len(before) == 2


@pytest.mark.parametrize("action", [endpoint.rotate_secret, endpoint.show_secret_once, endpoint.resume])
def test_without_an_address_there_is_nothing_to_do(action: object) -> None:
    with pytest.raises(ValidationError) as caught:
        action(batch=make_batch())  # type: ignore[operator] # three functions of one shape
    assert caught.value.code == "no_webhook"
