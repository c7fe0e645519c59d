"""Passkeys: WebAuthn credentials, as second factor after the password and for sign-in without a password.

Source: Web Authentication Level 3, sections 7.1 (registration) and 7.2 (authentication), implemented by
``fido2``. A challenge is random, stored in the session, and valid once within five minutes. The origin must
be that of the request. Without a password the authenticator has to verify the person (PIN, fingerprint), so
that a passkey alone is two factors. A signature counter that does not grow indicates a copied key, which is
refused.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import struct
import time
from typing import Any, ClassVar
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from django.conf import settings
from django.db import models, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from speechportal.accounts.sign_in import notices

logger = logging.getLogger(__name__)
CHALLENGE_KEY = "passkey_challenge"
CHALLENGE_SECONDS = 300
MOST = 20  # passkeys per user
LONGEST_RESPONSE = 20_000  # characters
LONGEST_ID = 1400  # base64url of the 1,023 bytes that WebAuthn allows
# What the JSON parser, fido2 and cryptography raise for a response that is malformed or wrongly signed, or
# whose algorithm they do not implement.
MALFORMED = (
    AttributeError,
    IndexError,
    InvalidSignature,
    KeyError,
    NotImplementedError,
    RecursionError,
    TypeError,
    UnsupportedAlgorithm,
    ValueError,
    struct.error,
)


class PasskeyError(Exception):
    """Raised when a passkey is not accepted. ``sentence`` is for people."""

    sentence = _("The passkey was not accepted. Try again.")


class TooManyPasskeys(PasskeyError):
    sentence = _("You have as many passkeys as are allowed: remove one first.")


class KnownPasskey(PasskeyError):
    sentence = _("This passkey is registered already.")


class Passkey(models.Model):
    """Public key of an authenticator (phone, computer, security key) of a user."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="passkeys")
    name = models.CharField(
        _("name"), max_length=60, help_text=_("Such as the device that it is on, so that you know it again.")
    )
    credential_id = models.CharField(max_length=LONGEST_ID, unique=True, editable=False)  # base64url
    credential = models.TextField(editable=False)  # AAGUID, ID and COSE public key, base64url
    sign_count = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("added"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)

    objects: ClassVar[models.Manager[Passkey]] = models.Manager()

    class Meta:
        verbose_name = _("passkey")
        verbose_name_plural = _("passkeys")
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.user})"

    @property
    def data(self) -> AttestedCredentialData:
        return AttestedCredentialData(websafe_decode(self.credential))


def is_possible(request: HttpRequest) -> bool:
    """Whether browsers allow passkeys at this URL: HTTPS or localhost, and a host name, no IP address."""
    host = _host(request)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return request.is_secure() or host == "localhost" or host.endswith(".localhost")
    return False


def of_user(user_id: int) -> models.QuerySet[Passkey]:
    return Passkey.objects.filter(user=user_id)


def registration_options(request: HttpRequest, user_id: int, email: str, name: str) -> dict[str, Any]:
    """``PublicKeyCredentialCreationOptions`` as JSON; the challenge goes into the session."""
    entity = PublicKeyCredentialUserEntity(id=_handle(user_id), name=email, display_name=name or email)
    options, state = _server(request).register_begin(
        entity,
        credentials=[each.data for each in of_user(user_id)],
        resident_key_requirement=ResidentKeyRequirement.PREFERRED,
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    _keep(request, state, "register")
    return dict(options)


def register(request: HttpRequest, user_id: int, name: str, response: str) -> Passkey:
    """Verify a new credential and store it. Raises PasskeyError."""
    state = _kept(request, "register")
    try:
        registration = RegistrationResponse.from_dict(_parsed(response))
        found = _server(request).register_complete(state, registration)
        credential = found.credential_data
        if credential is None:
            raise ValueError("no credential")
        key = websafe_encode(credential.credential_id)
        if len(key) > LONGEST_ID:
            raise ValueError("the ID is too long")
    except MALFORMED as error:
        raise _refused(error) from error
    from speechportal.accounts.models import User

    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user_id)  # guards against concurrent tabs
        if Passkey.objects.filter(credential_id=key).exists():
            raise KnownPasskey("known")
        if of_user(user_id).count() >= MOST:
            raise TooManyPasskeys("too many")
        passkey = Passkey.objects.create(
            user_id=user_id,
            name=name,
            credential_id=key,
            credential=websafe_encode(bytes(credential)),
            sign_count=found.counter,
        )
        notices.send_later(user_id, "passkey_added")
    return passkey


def authentication_options(request: HttpRequest, user_id: int | None) -> dict[str, Any]:
    """``PublicKeyCredentialRequestOptions`` as JSON: for a user's own passkeys, or for any (no password)."""
    own = None if user_id is None else [each.data for each in of_user(user_id)]
    verification = (
        UserVerificationRequirement.REQUIRED if own is None else UserVerificationRequirement.PREFERRED
    )
    options, state = _server(request).authenticate_begin(own, user_verification=verification)
    _keep(request, state, _purpose(user_id))
    return dict(options)


def claimed(response: str) -> Passkey | None:
    """Look up the passkey that a response names, without verifying the response."""
    try:
        raw_id = AuthenticationResponse.from_dict(_parsed(response)).raw_id
    except MALFORMED:
        return None
    return Passkey.objects.select_related("user").filter(credential_id=websafe_encode(raw_id)).first()


def authenticate(request: HttpRequest, passkey: Passkey, user_id: int | None, response: str) -> None:
    """Verify that the passkey has signed the challenge of this session. Raises PasskeyError.

    ``user_id`` is the user who gave their password, ``None`` for a sign-in without one.
    """
    state = _kept(request, _purpose(user_id))
    if user_id is not None and passkey.user_id != user_id:
        raise PasskeyError("another user's passkey")
    try:
        answer = AuthenticationResponse.from_dict(_parsed(response))
        _server(request).authenticate_complete(state, [passkey.data], answer)
        handle = answer.response.user_handle
        if handle is not None and handle != _handle(passkey.user_id):
            raise ValueError("another user handle")
        if user_id is None and handle is None:
            raise ValueError("no user handle")
        count = answer.response.authenticator_data.counter
    except MALFORMED as error:
        raise _refused(error) from error
    with transaction.atomic():
        locked = Passkey.objects.select_for_update().filter(pk=passkey.pk).first()
        if locked is None:
            raise PasskeyError("removed meanwhile")
        is_copied = bool(count or locked.sign_count) and count <= locked.sign_count
        if not is_copied:
            locked.sign_count, locked.last_used_at = count, timezone.now()
            locked.save(update_fields=["sign_count", "last_used_at"])
    if is_copied:
        notices.send_later(passkey.user_id, "passkey_copied")
        raise PasskeyError("the counter did not grow: the key may be copied")


def _purpose(user_id: int | None) -> str:
    return "sign in" if user_id is None else f"second factor of {user_id}"


def _keep(request: HttpRequest, state: dict[str, Any], purpose: str) -> None:
    request.session[CHALLENGE_KEY] = {
        "challenge": str(state["challenge"]),
        "user_verification": str(getattr(state["user_verification"], "value", "")),
        "purpose": purpose,
        "at": time.time(),
    }


def _kept(request: HttpRequest, purpose: str) -> dict[str, Any]:
    """Take the state of this purpose's challenge out of the session, so that it is valid once."""
    kept: dict[str, Any] = request.session.pop(CHALLENGE_KEY, {})
    if kept.get("purpose") != purpose or time.time() - kept["at"] > CHALLENGE_SECONDS:
        raise PasskeyError("no challenge")
    return {
        "challenge": kept["challenge"],
        "user_verification": UserVerificationRequirement(kept["user_verification"]),
    }


def _server(request: HttpRequest) -> Fido2Server:
    entity = PublicKeyCredentialRpEntity(id=_host(request), name="Speech Portal")
    expected = f"{request.scheme}://{request.get_host()}"
    return Fido2Server(entity, verify_origin=lambda origin: origin == expected)


def _host(request: HttpRequest) -> str:
    return urlsplit(f"//{request.get_host()}").hostname or ""


def _handle(user_id: int) -> bytes:
    """User handle: anonymous, since anybody with the authenticator can read it."""
    return f"user-{user_id}".encode()


def _parsed(response: str) -> dict[str, Any]:
    if len(response) > LONGEST_RESPONSE:
        raise ValueError("too long")
    found = json.loads(response)
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 - invalid input from the client
    return found


def _refused(error: Exception) -> PasskeyError:
    logger.warning("a passkey was refused: %s: %s", type(error).__name__, error)
    return PasskeyError(str(error))
