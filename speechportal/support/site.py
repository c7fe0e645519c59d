"""Admin site of support staff: sign-in with a second factor, queue panels, search in all tables."""

from __future__ import annotations

# Django loads this module before the apps, so imports that need them are inside of functions.
from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.translation import gettext_lazy as _

LONGEST_SEARCH = 200


class PortalAdminSite(admin.AdminSite):
    site_title = _("Speech Portal support")
    site_header = _("Speech Portal support")
    index_title = _("Now")
    index_template = "admin/portal/index.html"
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        from speechportal.accounts.sign_in import second_factor

        return super().has_permission(request) and not second_factor.is_missing(request)

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Redirect to the portal's own sign-in, which includes the second factor."""
        from django.contrib.auth.views import redirect_to_login

        from speechportal.accounts.sign_in import second_factor

        wanted = request.GET.get("next") or reverse("admin:index", current_app=self.name)
        if not request.user.is_authenticated:
            return redirect_to_login(wanted, reverse("login"))
        if second_factor.is_missing(request):
            return redirect_to_login(wanted, reverse("second_factor"))
        if self.has_permission(request):
            return redirect("admin:index")
        return render(request, "403.html", status=403)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [path("search/", self.admin_view(self.search), name="search"), *super().get_urls()]

    def index(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        from speechportal.support.panels import panels_for

        return super().index(request, {**(extra_context or {}), "panels": panels_for(request)})

    def search(self, request: HttpRequest) -> HttpResponse:
        """Search all tables by ID, name, e-mail address or file name; a single hit opens at once."""
        from speechportal.support.admin import PortalModelAdmin

        text = request.GET.get("q", "").strip()[:LONGEST_SEARCH]
        groups = []
        for model, model_admin in self._registry.items():
            if text and isinstance(model_admin, PortalModelAdmin):
                found = model_admin.find(request, text)
                if found:
                    groups.append((model, model_admin, found))
        if len(groups) == 1 and len(groups[0][2]) == 1:
            model, _admin, (row,) = groups[0]
            kind = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
            return HttpResponseRedirect(reverse(kind, args=[row.pk]))
        results = [
            {
                "title": model._meta.verbose_name_plural,
                "more": f"{reverse(f'admin:{model._meta.app_label}_{model._meta.model_name}_changelist')}",
                "rows": [(model_admin.found_as(row), model_admin.url_of(row)) for row in found],
            }
            for model, model_admin, found in groups
        ]
        context = {**self.each_context(request), "title": _("Search"), "text": text, "results": results}
        return render(request, "admin/portal/search.html", context)


class PortalAdminConfig(AdminConfig):
    default_site = "speechportal.support.site.PortalAdminSite"
