"""E-mail, sent only if the operator has configured a mail server."""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.mail import send_mail

logger = logging.getLogger(__name__)


def is_set_up() -> bool:
    return bool(settings.EMAIL_HOST)


def send(address: str, subject: str, text: str) -> bool:
    """Send an e-mail; returns whether the server accepted it. A failure is logged, not retried."""
    if not is_set_up():
        return False
    try:
        send_mail(" ".join(subject.splitlines()), text, None, [address])
    except OSError as error:
        logger.warning("an e-mail was not sent: %s", error)
        return False
    return True
