"""Re-encrypt every stored secret with the first of SPEECHPORTAL_ENCRYPTION_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from batches.models import notifications, stored_transcript
from batches.webhooks import endpoint
from speechportal.accounts.sign_in import second_factor
from speechportal.accounts.single_sign_on import account_providers
from speechportal.encryption import EncryptionError
from speechportal.storage import models as storage


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            counts = {
                "connections": storage.rotate_secrets(),
                "webhooks": endpoint.rotate_encryption(),
                "chat channels": notifications.rotate_channel_urls(),
                "original transcripts": stored_transcript.rotate_originals(),
                "authenticator apps": second_factor.rotate_encryption(),
                "company sign-ins": account_providers.rotate_encryption(),
            }
        except EncryptionError as error:
            raise CommandError(
                f"{error} Put the key that is missing back into SPEECHPORTAL_ENCRYPTION_KEYS and try again:"
                " what was encrypted before stays readable."
            ) from error
        for name, count in counts.items():
            self.stdout.write(f"{name}: {count}")
        self.stdout.write(
            "The other keys can be removed if every process has run with this list since before this command;"
            " else restart them all and run it again."
        )
