"""Pages of domains."""

from __future__ import annotations

import csv
import io

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from domains import keyword_use, selectors, services
from domains.forms import DomainForm
from domains.models import Domain, Keyword
from speechportal.accounts.access import manager_required, member_required
from speechportal.accounts.requests import PortalRequest
from speechportal.accounts.services import account_locked
from speechportal.platform.forms import submit
from speechportal.platform.http import download, neutral

PAGE_SIZE = 50


@member_required
def domain_list(request: PortalRequest) -> HttpResponse:
    query = request.GET.get("q", "").strip()
    domains = selectors.list_domains(request.account, query)
    page = Paginator(domains, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "domains/list.html", {"page": page, "query": query})


@manager_required
def domain_create(request: PortalRequest) -> HttpResponse:
    form = DomainForm(request.POST or None, request.FILES or None)
    domain = submit(form, lambda: services.create_domain(account=request.account, **form.cleaned_data))
    if domain is not None:
        messages.success(request, _("The domain “%s” was created.") % domain.name)
        return redirect("domains:list")
    return render(request, "domains/form.html", {"form": form})


@manager_required
def domain_edit(request: PortalRequest, uid: str) -> HttpResponse:
    with account_locked(request.account):
        domain = get_object_or_404(Domain.objects.for_account(request.account), uid=uid)
        form = DomainForm(request.POST or None, request.FILES or None, instance=domain)
        saved = submit(form, lambda: services.update_domain(domain=domain, **form.cleaned_data))
    if saved is not None:
        messages.success(request, _("The domain “%s” was saved.") % domain.name)
        return redirect("domains:list")
    present = get_object_or_404(Domain.objects.for_account(request.account), uid=uid)
    use = {row.keyword.lower(): _use_cells(row) for row in keyword_use.lately(present)}
    return render(request, "domains/form.html", {"form": form, "domain": present, "keyword_use": use})


def _use_cells(row: keyword_use.Use) -> list[str]:
    """Cells of the keyword table: recent occurrences, and when it was last accepted and refused."""
    days = (row.last_accepted, row.last_refused)
    return [str(row.heard or ""), *(date_format(day, "SHORT_DATE_FORMAT") if day else "" for day in days)]


@member_required
def keywords_download(request: PortalRequest, uid: str, ending: str) -> HttpResponse:
    """Download the domain's keywords, one per line: as text, or as CSV with a byte order mark."""
    domain = get_object_or_404(Domain.objects.for_account(request.account), uid=uid)
    keywords = Keyword.objects.for_account(request.account).filter(domain=domain)
    texts = list(keywords.values_list("text", flat=True))
    name = f"{domain.code}-keywords.{ending}"
    if ending == "csv":
        file = io.StringIO()
        csv.writer(file).writerows([neutral(text)] for text in texts)
        return download(f"\ufeff{file.getvalue()}", name, "text/csv; charset=utf-8")
    return download("".join(f"{text}\n" for text in texts), name, "text/plain; charset=utf-8")


@manager_required
def domain_delete(request: PortalRequest, uid: str) -> HttpResponse:
    domains = Domain.objects.for_account(request.account).select_related("batch")
    domain = get_object_or_404(domains, uid=uid)
    refusal = ""
    if request.method == "POST":
        try:
            services.delete_domain(domain=domain)
        except ValidationError as error:
            refusal = error.messages[0]
        else:
            messages.success(request, _("The domain “%s” was deleted.") % domain.name)
            return redirect("domains:list")
    context = {"domain": domain, "batch": getattr(domain, "batch", None), "refusal": refusal}
    return render(request, "domains/delete.html", context)
