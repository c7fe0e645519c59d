"""The address that storages send notifications to: one of each connection, signed."""

from __future__ import annotations

import json
import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from batches.intake import notifications
from speechportal.platform import queue
from speechportal.storage import notification_links
from speechportal.storage.models import Connection

logger = logging.getLogger(__name__)


@csrf_exempt  # The signature says who may; no cookie is looked at.
@require_http_methods(["POST", "OPTIONS"])
def notified(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """Answers at once: what is named is looked at in the background."""
    connection = Connection.unscoped.select_related("account").filter(uid=uid).first()
    if connection is None or not notification_links.is_valid(connection, token):
        raise Http404
    if request.method == "OPTIONS":  # CloudEvents asks whether it may send.
        response = HttpResponse()
        response["WebHook-Allowed-Origin"] = request.headers.get("WebHook-Request-Origin", "*")
        response["WebHook-Allowed-Rate"] = "*"
        return response
    try:
        document = json.loads(request.body)
        if (answer := _handshake(document)) is not None:
            return answer
        written = notifications.read(document)
    except (ValueError, RecursionError, RequestDataTooBig):
        logger.warning("connection %s: a notification was not understood", connection.uid)
        return JsonResponse({"error": "The notification is not understood."}, status=400)
    return JsonResponse({"taken": notifications.accept(connection, written)})


def _handshake(document: Any) -> HttpResponse | None:
    """The answer to a service that asks whether the address wants its notifications."""
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, dict):
        return None
    if first.get("eventType") == "Microsoft.EventGrid.SubscriptionValidationEvent":
        data = first.get("data")
        code = data.get("validationCode") if isinstance(data, dict) else None
        return JsonResponse({"validationResponse": code})
    if first.get("Type") == "SubscriptionConfirmation":
        queue.enqueue("batches.operations.jobs.confirm_subscription", str(first.get("SubscribeURL", "")))
        return JsonResponse({"confirmed": "soon"})
    return None
