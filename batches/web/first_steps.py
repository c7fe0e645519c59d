"""First steps: a page that leads from the first connection to the first transcript.

Each step is a form; once it is saved the page shows the next one. Works without JavaScript.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from batches.models import Task
from batches.operations import first_steps
from batches.services import batches as batch_services
from batches.services import selectors
from batches.status.failures import failure_of_task
from batches.web import uploads
from batches.web.forms import BatchForm
from batches.web.fragments import HEADER, render_live
from domains import services as domain_services
from domains.forms import DomainForm
from domains.models import Domain
from speechportal.accounts.access import manager_required
from speechportal.accounts.requests import PortalRequest
from speechportal.platform.forms import submit
from speechportal.storage import services as storage_services
from speechportal.storage.errors import StorageError
from speechportal.storage.forms import ConnectionForm

SHOWN = 5  # latest tasks
Create = Callable[[], object]


@manager_required
def page(request: PortalRequest) -> HttpResponse:
    """Show the first unfinished step with its form; after the last one, a link to the transcript."""
    steps = first_steps.steps(request.account)
    current = next((step for step in steps if not step.done), None)
    context: dict[str, Any] = {"steps": steps, "current": current}
    if current is None or current.key in ("upload", "transcript"):
        return _last_steps(request, context)
    form, create = FORMS[current.key](request)
    if request.method == "POST" and request.POST.get("step") != current.key:
        return redirect("first_steps")  # Another tab has completed this step.
    if submit(form, create) is not None:
        return redirect("first_steps")
    context |= {"form": form, "sample": first_steps.sample_recording(request.account)}
    return render(request, "home/first_steps.html", context)


def _connection(request: PortalRequest) -> tuple[forms.BaseForm, Create]:
    """Form of a new connection, or of the existing one whose check failed, to be corrected."""
    account, faulty = request.account, first_steps.faulty_connection(request.account)
    form = ConnectionForm(request.POST or None, account=account, instance=faulty)

    def create() -> object:
        if faulty is None:
            made = storage_services.create_connection(account=account, **form.cleaned_data)
        else:
            made = storage_services.update_connection(connection=faulty, **form.cleaned_data)
        storage_services.check_connection(connection=made)
        if made.last_error:
            messages.warning(request, _("The connection does not work yet: %s") % made.last_error)
        else:
            messages.success(request, _("The connection “%s” works.") % made.name)
        return made

    return form, create


def _domain(request: PortalRequest) -> tuple[forms.BaseForm, Create]:
    basic = {"plan": Domain.Plan.BASIC}
    form = DomainForm(request.POST or None, request.FILES or None, initial=basic)
    form.fields["plan"].widget = forms.HiddenInput()  # Only a Basic domain can have a batch.
    return form, lambda: domain_services.create_domain(account=request.account, **form.cleaned_data)


def _batch(request: PortalRequest) -> tuple[forms.BaseForm, Create]:
    account = request.account
    initial = {
        "name": _("Recordings"),
        "domain": selectors.choosable_domains(account).order_by("-pk").first(),
        "connection": first_steps.usable_connection(account),
        "input_path": "recordings/",
        "result_path": "results/",
    }
    form = BatchForm(request.POST or None, account=account, initial=initial)
    return form, lambda: batch_services.create_batch(account=account, **form.cleaned_data)


FORMS: dict[str, Callable[[PortalRequest], tuple[forms.BaseForm, Create]]] = {
    "connection": _connection,
    "domain": _domain,
    "batch": _batch,
}


def _last_steps(request: PortalRequest, context: dict[str, Any]) -> HttpResponse:
    """Upload step, with the progress of the tasks; htmx opens the first transcript once it is complete."""
    account, batch = request.account, first_steps.current_batch(request.account)
    tasks = Task.objects.for_account(account).select_related("batch").order_by("-pk")
    done = tasks.filter(state=Task.State.COMPLETED).first()
    context |= {
        "batch": batch,
        "rows": [(task, failure_of_task(task)) for task in tasks[:SHOWN]],
        "done": done,
        "sample": first_steps.sample_recording(account),
    }
    is_fragment = bool(request.headers.get(HEADER))
    fault = None
    if batch is not None and not is_fragment and done is None:
        try:
            context["upload"] = uploads.page_context(batch)
        except StorageError as error:
            fault = str(error)
    context["fault"] = fault
    response = render_live(request, "home/first_steps.html", "home/_first_tasks.html", context)
    if "upload" in context and batch is not None:
        uploads.allow_uploads(response, batch)
    if done is not None and is_fragment:
        response["HX-Redirect"] = reverse("batches:task", args=[done.batch.uid, done.uid])
    return response


@manager_required
@require_POST
def sample(request: PortalRequest) -> HttpResponse:
    """Recognise the sample recording, and redirect to its task, which will show the transcript."""
    recording = first_steps.sample_recording(request.account)
    if recording is None:
        raise Http404
    try:
        task = first_steps.try_sample(account=request.account, recording=recording)
    except (ValidationError, StorageError) as error:
        sentence = error.messages[0] if isinstance(error, ValidationError) else str(error)
        messages.error(request, sentence)
        return redirect("first_steps")
    messages.success(request, _("The sample recording waits for its turn. Its transcript appears here."))
    return redirect("batches:task", task.batch.uid, task.uid)
