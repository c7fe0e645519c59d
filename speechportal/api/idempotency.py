"""Idempotency: a request repeated with the same ``Idempotency-Key`` has one effect and one response.

A key belongs to its token and is kept for a day. A refused request had no effect and is not stored; it may be
sent again with the same key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from speechportal.api.models import IdempotencyRecord
from speechportal.api.problems import InvalidParameters, Problem
from speechportal.api.requests import ApiRequest
from speechportal.encryption import EncryptedCredentials, EncryptionError

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT_FOR = timedelta(days=1)
KEPT_HEADERS = ("ETag", "Location")
_SOUND = re.compile(r"[\x21-\x7e]{1,255}")

Handler = Callable[..., Response]
_TAKE_KEY: set[Handler] = set()


def takes_key(handler: Handler) -> Handler:
    """Decorator for handlers that call an :func:`idempotent` one: adds the header to the OpenAPI document."""
    _TAKE_KEY.add(handler)
    return handler


def idempotent(handler: Handler) -> Handler:
    """Decorator for handlers that change only the database, in one transaction with the stored response."""

    @wraps(handler)
    def once(view: Any, request: ApiRequest, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return handler(view, request, *args, **kwargs)
        if not _SOUND.fullmatch(key):
            message = _("Use 1 to 255 visible ASCII characters, such as a UUID.")
            raise InvalidParameters({HEADER: [message]}, code="invalid_idempotency_key")
        with transaction.atomic():
            kept, is_new = _claim(request, key)
            if not is_new:
                return _replay(kept, request)
            response = handler(view, request, *args, **kwargs)
            _keep(kept, request, response)
            return response

    return takes_key(once)


def _claim(request: ApiRequest, key: str) -> tuple[IdempotencyRecord, bool]:
    """Get or create the row of this key; a concurrent request waits here until the first has ended."""
    own = IdempotencyRecord.objects.for_account(request.account).filter(token=request.auth)
    own.filter(created_at__lt=timezone.now() - KEPT_FOR).delete()
    try:
        with transaction.atomic():
            return own.create(token=request.auth, key=key, fingerprint=_fingerprint(request)), True
    except IntegrityError:
        return own.get(key=key), False


def _fingerprint(request: ApiRequest) -> str:
    plain = request._request  # noqa: SLF001 - REST framework's own name for Django's request
    digest = hashlib.sha256(f"{plain.method} {plain.get_full_path()}\n".encode())
    digest.update(plain.body)
    return digest.hexdigest()


def _replay(kept: IdempotencyRecord, request: ApiRequest) -> Response:
    if kept.fingerprint != _fingerprint(request):
        raise Problem(
            422,
            "idempotency_key_reused",
            _("This Idempotency-Key was used for another request. Choose a new one."),
        )
    try:
        content = json.loads(_box(request, kept.key).decrypt(kept.content))
    except EncryptionError as error:  # The operator has removed the key within the day.
        sentence = _("The request was done, but its answer cannot be read any more.")
        raise Problem(409, "idempotent_answer_lost", sentence) from error
    return Response(content["body"], status=kept.status, headers={**content["headers"], REPLAYED: "true"})


def _keep(kept: IdempotencyRecord, request: ApiRequest, response: Response) -> None:
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    body = JSONRenderer().render(response.data) if response.data is not None else b"null"
    content = json.dumps({"headers": headers, "body": json.loads(body)})
    kept.status = response.status_code
    kept.content = _box(request, kept.key).encrypt(content)
    kept.save(update_fields=["status", "content"])


def _box(request: ApiRequest, key: str) -> EncryptedCredentials:
    return EncryptedCredentials(account=request.account.uid, row=request.auth.uid, field=f"answer {key}")


def is_idempotent(handler: Any) -> bool:
    """Whether a view's method takes the header."""
    return getattr(handler, "__func__", handler) in _TAKE_KEY
