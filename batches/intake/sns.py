"""Amazon Simple Notification Service (SNS): signature verification and confirmation of subscriptions.

A message is signed with the key of a certificate that it names by URL. The certificate is fetched only from
Amazon's own hosts, over the guarded client, and each process caches it for a day. Source: "Verifying the
signatures of Amazon SNS messages" in Amazon's developer guide.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from django.core.cache import cache
from django.utils import timezone

from speechportal.outbound import client

NOTIFICATION = "Notification"
CONFIRMATIONS = ("SubscriptionConfirmation", "UnsubscribeConfirmation")
_SIGNED_KEYS = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    **dict.fromkeys(
        CONFIRMATIONS, ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    ),
}
_OPTIONAL = "Subject"
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - version 1 is SHA-1 # nosec B303
_HOST = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?\Z")
_SECONDS = 10  # timeout of a request to Amazon
_CERTIFICATE_BYTES = 64 * 1024
_KEPT_SECONDS = 24 * 3600


class NotSigned(ValueError):
    """The message has no valid signature of Amazon's."""


def is_message(document: Any) -> bool:
    """Whether the document is an SNS message, with a valid signature or not."""
    return isinstance(document, dict) and document.get("Type") in _SIGNED_KEYS


def check_form(message: dict[str, Any]) -> None:
    """Reject a message that Amazon cannot have signed, without any request. Raises :class:`NotSigned`."""
    _signed_text(message)
    if message.get("SignatureVersion") not in _HASHES:
        raise NotSigned("its signature is of an unknown version")
    if not _is_amazon(message.get("SigningCertURL")):
        raise NotSigned("its certificate does not lie at Amazon")
    if message["Type"] in CONFIRMATIONS and not _is_amazon(message["SubscribeURL"]):
        raise NotSigned("the address of its subscription is not Amazon's")


def verify(message: dict[str, Any]) -> None:
    """Verify the signature. Raises :class:`NotSigned`; OutboundError if the certificate cannot be fetched."""
    check_form(message)
    key = _certificate(message["SigningCertURL"]).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise NotSigned("its certificate has no RSA key")
    try:
        signature = base64.b64decode(str(message.get("Signature", "")), validate=True)
        algorithm = _HASHES[message["SignatureVersion"]]
        key.verify(signature, _signed_text(message), padding.PKCS1v15(), algorithm)
    except (InvalidSignature, binascii.Error) as error:
        raise NotSigned("its signature is wrong") from error


def confirm(message: dict[str, Any]) -> None:
    """Confirm the subscription of a verified message. Raises OutboundError."""
    client.get(message["SubscribeURL"], io.BytesIO(), timeout=_SECONDS, max_body=_CERTIFICATE_BYTES)


def _signed_text(message: dict[str, Any]) -> bytes:
    lines: list[str] = []
    for key in _SIGNED_KEYS[message["Type"]]:
        value = message.get(key)
        if value is None and key == _OPTIONAL:
            continue
        if not isinstance(value, str):
            raise NotSigned(f"it has no {key}")
        lines += [key, value]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def _is_amazon(url: Any) -> bool:
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme == "https" and port in (None, 443) and bool(_HOST.match(parts.hostname or ""))


def _certificate(url: str) -> x509.Certificate:
    name = f"sns-certificate:{url}"
    data = cache.get(name)
    if data is None:
        file = io.BytesIO()
        client.get(url, file, timeout=_SECONDS, max_body=_CERTIFICATE_BYTES)
        data = file.getvalue()
    try:
        certificate = x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise NotSigned("its certificate cannot be read") from error
    if not certificate.not_valid_before_utc <= timezone.now() <= certificate.not_valid_after_utc:
        raise NotSigned("its certificate is not valid at present")
    cache.set(name, data, _KEPT_SECONDS)
    return certificate
