"""Mail to people, where the operator has named a server that takes it."""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.mail import send_mail

logger = logging.getLogger(__name__)


def is_set_up() -> bool:
    return bool(settings.EMAIL_HOST)


def send(address: str, subject: str, text: str) -> bool:
    """Whether the server took it. What could not be sent is logged without its text, and not sent later."""
    if not is_set_up():
        return False
    try:
        send_mail(" ".join(subject.splitlines()), text, None, [address])
    except OSError as error:
        logger.warning("a mail was not sent: %s", error)
        return False
    return True
