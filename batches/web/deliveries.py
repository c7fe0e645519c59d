"""Pages of a batch's webhook and deliveries: list, detail, redelivery, test and secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from batches.models import Batch, Delivery
from batches.services import acknowledgements
from batches.web.batches import any_batch
from batches.web.fragments import render_live
from batches.webhooks import endpoint, events, kinds, redelivery, selectors
from batches.webhooks.forms import RedeliverForm
from speechportal.accounts.access import manager_required, member_required
from speechportal.accounts.requests import PortalRequest
from speechportal.platform.forms import submit
from speechportal.platform.http import host_alone

PAGE_SIZE = 50


def _live_batch(request: PortalRequest, uid: str) -> Batch:
    live = Batch.objects.for_account(request.account).live().select_related("account")
    return get_object_or_404(live, uid=uid)


def _delivery(request: PortalRequest, batch: Batch, uid: str) -> Delivery:
    return get_object_or_404(selectors.list_deliveries(request.account, batch=batch), uid=uid)


@member_required
def delivery_list(request: PortalRequest, uid: str) -> HttpResponse:
    batch = any_batch(request, uid)
    state, event = request.GET.get("state", ""), request.GET.get("event", "")
    found = selectors.list_deliveries(request.account, batch=batch, state=state, event=event)
    webhook = selectors.webhook_of(request.account, batch) if batch.webhook_url else None
    held_until = webhook.held_until if webhook else None
    context = {
        "batch": batch,
        "result_count": batch.last_execution_result,
        "tab": "deliveries",
        "address": batch.webhook_url if request.membership.can_change else host_alone(batch.webhook_url),
        "webhook": webhook,
        "held_until": held_until if held_until and held_until > timezone.now() else None,
        "acknowledged_by": acknowledgements.entry_of(webhook) if webhook else None,
        "unseen": acknowledgements.is_webhook_unseen(batch),
        "counts": selectors.open_deliveries(request.account, batch),
        "state": state,
        "event": event,
        "states": Delivery.State.choices,
        "events": events.labels(),
        **_window(found, request.GET.get("before", "")),
    }
    return render_live(request, "deliveries/list.html", "deliveries/_list.html", context)


def _window(deliveries: QuerySet[Delivery], before: str) -> dict[str, Any]:
    """Page of deliveries by age (keyset pagination: the cost does not grow with the page number)."""
    edge = deliveries.filter(uid=before).values_list("pk", flat=True).first() if before else None
    if edge is not None:
        deliveries = deliveries.filter(pk__lt=edge)
    found = list(deliveries.defer("payload")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    return {
        "deliveries": [(delivery, kinds.title_of(delivery)) for delivery in shown],
        "before": before if edge is not None else "",
        "older": shown[-1].uid if len(found) > PAGE_SIZE else "",
    }


@member_required
def delivery_detail(request: PortalRequest, uid: str, delivery_uid: str) -> HttpResponse:
    batch = any_batch(request, uid)
    delivery = _delivery(request, batch, delivery_uid)
    context = {
        "batch": batch,
        "delivery": delivery,
        "acknowledged_by": acknowledgements.entry_of(delivery),
        "attempts": selectors.attempts_of(request.account, delivery),
        "title": kinds.title_of(delivery),
        "message": _pretty(delivery.payload),
        "host": host_alone(delivery.address),
        "with_result": kinds.carries_result(delivery),
        "can_redeliver": request.membership.can_change and not batch.is_deleted and delivery.url,
    }
    return render_live(request, "deliveries/detail.html", "deliveries/_detail.html", context)


def _pretty(payload: str) -> str:
    """Indent a stored payload; empty for a message whose body is built when it is sent."""
    return json.dumps(json.loads(payload), ensure_ascii=False, indent=2) if payload else ""


def _do(request: PortalRequest, action: Callable[[], object], done: str) -> None:
    """Perform an action, and add a message with its success or refusal."""
    try:
        action()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, done)


@manager_required
@require_POST
def send_test(request: PortalRequest, uid: str) -> HttpResponse:
    batch = _live_batch(request, uid)
    done = _("A test message is on its way. Its delivery says how the receiver answers.")
    _do(request, lambda: redelivery.send_test(batch=batch), done)
    return redirect("batches:deliveries", uid)


@manager_required
@require_POST
def resume(request: PortalRequest, uid: str) -> HttpResponse:
    batch = _live_batch(request, uid)
    _do(request, lambda: endpoint.resume(batch=batch), _("Messages are sent again."))
    return redirect("batches:deliveries", uid)


@manager_required
@require_POST
def redeliver(request: PortalRequest, uid: str, delivery_uid: str) -> HttpResponse:
    delivery = _delivery(request, _live_batch(request, uid), delivery_uid)
    done = _("The message is sent again, with the same ID.")
    _do(request, lambda: redelivery.redeliver(delivery=delivery), done)
    return redirect("batches:delivery", uid, delivery_uid)


@manager_required
def redeliver_since(request: PortalRequest, uid: str) -> HttpResponse:
    """Send the messages again that were created since the time in the form."""
    batch = _live_batch(request, uid)
    yesterday = timezone.localtime(timezone.now() - timedelta(days=1))
    form = RedeliverForm(request.POST or None, initial={"since": yesterday, "only_failed": True})
    count = submit(form, lambda: redelivery.redeliver_since(batch=batch, **form.cleaned_data))
    if count is None:
        return render(request, "deliveries/redeliver.html", {"batch": batch, "form": form})
    text = ngettext("%d delivery is sent again.", "%d deliveries are sent again.", count)
    messages.success(request, text % count)
    return redirect("batches:deliveries", uid)


@manager_required
def rotate_secret(request: PortalRequest, uid: str) -> HttpResponse:
    """Rotate the secret, after a confirmation page: the receiver has to be changed within a day."""
    batch = _live_batch(request, uid)
    if request.method != "POST":
        return render(request, "deliveries/rotate.html", {"batch": batch})
    done = _("There is a new secret. For 24 hours messages are signed with the previous one, too.")
    _do(request, lambda: endpoint.rotate_secret(batch=batch), done)
    return redirect("batches:deliveries", uid)


@never_cache
@manager_required
@require_POST
def show_secret(request: PortalRequest, uid: str) -> HttpResponse:
    """Show a new secret. No other page contains it, and this one can be opened once."""
    batch = _live_batch(request, uid)
    try:
        secret = endpoint.show_secret_once(batch=batch)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("batches:deliveries", uid)
    return render(request, "deliveries/secret.html", {"batch": batch, "secret": secret})
