"""Receiver of storage notifications: each connection has a signed URL, to which its storage reports files."""

from __future__ import annotations

import json
import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from batches.intake import notifications, sns
from speechportal.platform import queue
from speechportal.storage import notification_links
from speechportal.storage.models import Connection

logger = logging.getLogger(__name__)


@csrf_exempt  # Authenticated by the signature in the URL; cookies are not used.
@require_http_methods(["POST", "OPTIONS"])
def notified(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """Accept a notification and respond at once; the files that it names are checked in the background."""
    connection = Connection.unscoped.select_related("account").filter(uid=uid).first()
    if connection is None or not notification_links.is_valid(connection, token):
        raise Http404
    if request.method == "OPTIONS":  # Handshake of CloudEvents webhooks.
        response = HttpResponse()
        response["WebHook-Allowed-Origin"] = request.headers.get("WebHook-Request-Origin", "*")
        response["WebHook-Allowed-Rate"] = "*"
        return response
    try:
        document = json.loads(request.body)
        if (answer := _handshake(document)) is not None:
            return answer
        written = notifications.read(document)
        if sns.is_message(document):
            return _sns_message(connection, document)
    except sns.NotSigned as error:
        logger.warning("connection %s: an SNS message was refused: %s", connection.uid, error)
        return JsonResponse({"error": f"The message is refused: {error}."}, status=403)
    except (ValueError, RecursionError, RequestDataTooBig):
        logger.warning("connection %s: a notification was not understood", connection.uid)
        return JsonResponse({"error": "The notification is not understood."}, status=400)
    return JsonResponse({"taken": notifications.accept(connection, written)})


def _handshake(document: Any) -> HttpResponse | None:
    """Response to the validation request of Azure Event Grid; ``None`` for any other message."""
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, dict):
        return None
    if first.get("eventType") == "Microsoft.EventGrid.SubscriptionValidationEvent":
        data = first.get("data")
        code = data.get("validationCode") if isinstance(data, dict) else None
        return JsonResponse({"validationResponse": code})
    return None


def _sns_message(connection: Connection, message: dict[str, Any]) -> HttpResponse:
    """Accept an SNS message; it is verified in the background, since that may fetch Amazon's certificate.

    Raises NotSigned for a message that does not have the form of a signed one.
    """
    sns.check_form(message)
    queue.enqueue("batches.operations.jobs.take_sns_message", connection.pk, message)
    return JsonResponse({"taken": 0, "verifying": True})
