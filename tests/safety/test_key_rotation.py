"""Rotation of encryption keys: everything is re-encrypted, and the old key is no longer needed."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models.notifications import ChatChannel
from batches.operations.doctor import work as doctor
from batches.operations.doctor.findings import Health
from batches.webhooks import endpoint
from speechportal.accounts.sign_in import second_factor
from speechportal.encryption import EncryptionError
from speechportal.storage.models import Connection
from tests import factories

pytestmark = pytest.mark.django_db


def test_after_rotating_the_old_key_can_go(settings: Settings) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [old]
    batch = factories.make_batch(webhook_url="https://receiver.example/hook")
    endpoint.address_changed(batch)
    connection = factories.make_connection(factories.make_account())
    connection.provider = "aws"
    connection.parameters = {
        "endpoint_url": "https://s3.example",
        "region": "us-east-1",
        "bucket": "calls",
        "access_key": "AKIA",
    }
    connection.set_secret("storage secret")
    connection.save()
    channel = ChatChannel(account=connection.account, name="ops", service=ChatChannel.Service.SLACK)
    channel.set_url("https://hooks.example/services/T0/B0/x")
    channel.save()
    app = second_factor.begin(factories.make_user(is_staff=True).pk)
    shown, signing = app.typed_secret(), endpoint.signing_secrets(batch.webhook, timezone.now())

    settings.ENCRYPTION_KEYS = [new, old]
    call_command("rotate_keys")
    settings.ENCRYPTION_KEYS = [new]
    assert keys_finding() == (True, "Every stored secret can be decrypted (transcripts were not tried).")
    for row in (app, batch.webhook, connection, channel):
        row.refresh_from_db()
    assert channel.url() == "https://hooks.example/services/T0/B0/x"
    assert app.typed_secret() == shown
    assert endpoint.signing_secrets(batch.webhook, timezone.now()) == signing
    assert connection.secrets() == {"secret": "storage secret"}


def keys_finding() -> tuple[bool, str]:
    finding = next(iter(doctor.keys()))
    return finding.health is Health.GOOD, finding.sentence


def test_every_encrypted_column_is_known_to_the_doctor() -> None:
    """Whoever adds one adds it to ``rotate_keys`` too, and to the first test here."""
    columns = {
        (model, field.name)
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if field.name.startswith("encrypted_")
    }
    assert columns == {*doctor.ENCRYPTED_COLUMNS, (Connection, "encrypted_secret")}


def test_the_doctor_names_secrets_that_no_key_fits(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    channel = ChatChannel(account=factories.make_account(), name="ops", service=ChatChannel.Service.SLACK)
    channel.set_url("https://hooks.example/services/T0/B0/x")
    channel.save()
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    good, message = keys_finding()
    assert not good
    assert message.startswith("1 stored secret cannot be decrypted")


def test_the_doctor_names_a_secret_that_was_copied_from_another_connection(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    one, other = (factories.make_connection(factories.make_account()) for _ in range(2))
    for connection in (one, other):
        connection.provider = "aws"
        connection.set_secret("storage secret")
        connection.save()
    assert keys_finding()[0]
    type(one).unscoped.filter(pk=other.pk).update(encrypted_secret=one.encrypted_secret)
    assert keys_finding()[1].startswith("1 stored secret cannot be decrypted")


def test_a_missing_key_stops_it_and_harms_nothing(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    app = second_factor.begin(factories.make_user(is_staff=True).pk)
    shown, kept = app.typed_secret(), settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match="Put the key that is missing back"):
        call_command("rotate_keys")
    with pytest.raises(EncryptionError):
        app.typed_secret()
    settings.ENCRYPTION_KEYS = kept
    app.refresh_from_db()
    assert app.typed_secret() == shown
