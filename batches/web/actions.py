"""Actions on batches: delete, pause or resume several; retry or cancel the tasks of one; dry runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from batches.intake import poll_schedule
from batches.models import Batch
from batches.services import acknowledgements, dry_run, selectors
from batches.services import batches as batch_services
from batches.services import tasks as task_services
from batches.services.batches import BatchFields
from batches.webhooks import endpoint_check
from domains.models import Domain
from speechportal.accounts.access import manager_required
from speechportal.accounts.requests import PortalRequest
from speechportal.storage.models import Connection

MAX_KEY_DIGITS = 18  # A longer number is no primary key: SQLite and PostgreSQL hold 64 bits.
CHECKED = ("batch", "name", "domain", "connection", "input_path", "result_path")
M = TypeVar("M", bound=Model)


def _selected(request: PortalRequest) -> list[Batch]:
    """The live batches selected by the repeated parameter ``batch=<ID>``."""
    uids = (request.POST if request.method == "POST" else request.GET).getlist("batch")
    live = Batch.objects.for_account(request.account).live().select_related("account")
    return list(live.filter(uid__in=uids).order_by("name"))


def _ask(request: PortalRequest, template: str, batches: list[Batch]) -> HttpResponse:
    progress = selectors.progress_of(request.account, batches)
    context = {
        "batches": batches,
        "unfinished": sum(each.waiting + each.running for each in progress.values()),
        "waiting": sum(each.waiting for each in progress.values()),
        "running": sum(each.running for each in progress.values()),
    }
    return render(request, template, context)


def _back(request: PortalRequest, batches: list[Batch]) -> HttpResponse:
    """Redirect to the page that the action came from: one batch's page, or the list."""
    if request.POST.get("back") == "batch" and len(batches) == 1:
        return redirect("batches:detail", batches[0].uid)
    return redirect("batches:list")


def _each(request: PortalRequest, batches: list[Batch], act: Callable[[Batch], object]) -> int:
    """Apply ``act`` to each batch; a refusal becomes a message. Returns how many succeeded."""
    done = 0
    for batch in batches:
        try:
            act(batch)
            done += 1
        except ValidationError as error:
            messages.warning(request, f"{batch.name}: {error.messages[0]}")
    return done


def _by_key(rows: QuerySet[M], key: str) -> M | None:
    """The row with the primary key that a ``<select>`` of the form sent; ``None`` for an invalid one."""
    is_key = key.isascii() and key.isdigit() and len(key) <= MAX_KEY_DIGITS
    return rows.filter(pk=key).first() if is_key else None


@manager_required
def check(request: PortalRequest) -> HttpResponse:
    """Dry run with the form's name, domain, connection and paths, as far as given; saves nothing.

    The parameter ``batch`` is the ID of the batch that the form edits.
    """
    given = {name: request.GET.get(name, "").replace("\0", "").strip() for name in CHECKED}
    connections = Connection.objects.for_account(request.account).select_related("account")
    connection = _by_key(connections, given["connection"])
    live = Batch.objects.for_account(request.account).live().select_related("account")
    found = None
    if connection is not None:
        others = BatchFields()
        if given["name"]:
            others["name"] = given["name"]
        if domain := _by_key(Domain.objects.for_account(request.account), given["domain"]):
            others["domain"] = domain
        found = dry_run.preview(
            connection=connection,
            input_path=given["input_path"],
            result_path=given["result_path"],
            batch=live.filter(uid=given["batch"]).first(),
            others=others,
        )
    return render(request, "batches/check.html", {"connection": connection, "found": found})


@manager_required
@require_POST
def try_webhook(request: PortalRequest) -> HttpResponse:
    """Send a test message to the form's webhook URL, signed with the secret of the batch ``?batch=<ID>``."""
    live = Batch.objects.for_account(request.account).live().select_related("account")
    batch = live.filter(uid=request.GET.get("batch", "")).first()
    url = request.POST.get("webhook_url", "").strip()
    sent = endpoint_check.send(account=request.account, url=url, batch=batch) if url else None
    return render(request, "batches/try_webhook.html", {"trial": sent, "batch": batch})


@manager_required
def delete(request: PortalRequest) -> HttpResponse:
    """Delete batches, after a confirmation page that says what happens to files and charges."""
    batches = _selected(request)
    if request.method != "POST" or not batches:
        return _ask(request, "batches/delete.html", batches)
    done = _each(request, batches, lambda batch: batch_services.delete_batch(batch=batch))
    messages.success(request, ngettext("%d batch was deleted.", "%d batches were deleted.", done) % done)
    return redirect("batches:list")


@manager_required
def pause(request: PortalRequest) -> HttpResponse:
    batches = _selected(request)
    if request.method != "POST" or not batches:
        return _ask(request, "batches/pause.html", batches)
    done = _each(request, batches, lambda batch: task_services.pause_batch(batch=batch))
    messages.success(request, ngettext("%d batch is paused.", "%d batches are paused.", done) % done)
    return _back(request, batches)


@manager_required
def resume(request: PortalRequest) -> HttpResponse:
    batches = _selected(request)
    if request.method != "POST":
        return _ask(request, "batches/resume.html", batches)
    done = _each(request, batches, lambda batch: task_services.resume_batch(batch=batch))
    messages.success(request, ngettext("%d batch runs again.", "%d batches run again.", done) % done)
    return _back(request, batches)


def _live_batch(request: PortalRequest, uid: str) -> Batch:
    live = Batch.objects.for_account(request.account).live().select_related("account")
    return get_object_or_404(live, uid=uid)


@manager_required
def acknowledge(request: PortalRequest, uid: str, subject: str) -> HttpResponse:
    """Mark the batch's error, or its stopped webhook, as seen, with a note; Home no longer lists it."""
    if subject not in acknowledgements.SUBJECTS:
        raise Http404
    batch = _live_batch(request, uid)
    if request.method != "POST":
        return render(request, "batches/acknowledge.html", {"batch": batch, "subject": subject})
    note = request.POST.get("note", "").replace("\0", "").strip()
    try:
        acknowledgements.SUBJECTS[subject](batch=batch, note=note)
    except ValidationError as error:
        messages.warning(request, error.messages[0])
    else:
        messages.success(request, _("It was acknowledged: Home no longer names it."))
    return redirect("batches:deliveries" if subject == "webhook" else "batches:detail", uid)


@manager_required
@require_POST
def look_now(request: PortalRequest, uid: str) -> HttpResponse:
    batch = _live_batch(request, uid)
    try:
        poll_schedule.look_now(batch)
    except ValidationError as error:
        messages.warning(request, error.messages[0])
    else:
        messages.success(request, _("The input path is looked at now."))
    return redirect("batches:detail", uid)


@manager_required
@require_POST
def retry_failed(request: PortalRequest, uid: str) -> HttpResponse:
    batch = _live_batch(request, uid)
    done = task_services.retry_failed(batch=batch)
    if done:
        text = ngettext(
            "%d failed task waits for its turn again.", "%d failed tasks wait for their turn again.", done
        )
        messages.success(request, text % done)
    else:
        messages.warning(
            request, _("No failed task can be retried now. Failures that are being reported can be soon.")
        )
    return redirect("batches:detail", uid)


@manager_required
def cancel_waiting(request: PortalRequest, uid: str) -> HttpResponse:
    """Cancel a batch's waiting tasks, after a confirmation page."""
    batch = _live_batch(request, uid)
    if request.method != "POST":
        return _ask(request, "batches/cancel_waiting.html", [batch])
    done = task_services.cancel_waiting(batch=batch)
    text = ngettext("%d waiting task was cancelled.", "%d waiting tasks were cancelled.", done)
    messages.success(request, text % done)
    return redirect("batches:detail", uid)
