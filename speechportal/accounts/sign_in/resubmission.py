"""Resubmission of forms sent after the session ended, or with a stale CSRF token: no input is lost.

- The session ended: the response is the sign-in page, which carries the form. After the sign-in (and the
  second factor) :func:`send_again` shows it, with a button that sends it to its original URL.
- The CSRF token is stale, because the person signed in in another tab: the same page is shown at once.
- The form comes from another site, or its origin is unknown: it is refused, and not shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core import signing
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache

SALT = "speechportal.accounts.sign_in.resubmission"
FIELD = "typed"  # of the sign-in form
SESSION_KEY = "typed"
LONGEST = 512 * 1024  # characters of a kept form
MAX_AGE = 24 * 3600  # seconds
NOT_KEPT = {"csrfmiddlewaretoken", FIELD}
# Fields that authenticate the person and therefore have to be entered again.
CREDENTIALS = {"password", "password1", "password2", "old_password", "new_password1", "new_password2"}
CREDENTIALS |= {"credential"}  # of a passkey
NOT_SHOWN = {"next", "opened_with", "secret", "secret_key", "secret_access_key"}


@dataclass(frozen=True)
class TypedForm:
    """Fields of a form as they were sent. Of files only the names: a browser does not send them twice."""

    path: str
    fields: list[tuple[str, str]]
    files: list[str]

    @classmethod
    def of(cls, request: HttpRequest) -> TypedForm | None:
        """Form of the request; ``None`` if it is empty, a sign-in, or too long to keep."""
        fields = [
            (name, value)
            for name, values in request.POST.lists()
            if name not in NOT_KEPT | CREDENTIALS
            for value in values
        ]
        is_credentials = bool(CREDENTIALS & set(request.POST))
        size = sum(len(name) + len(value) for name, value in fields)
        if not fields or is_credentials or size > LONGEST:
            return None
        files = [file.name or "" for file in request.FILES.values() if isinstance(file, UploadedFile)]
        return cls(request.get_full_path(), fields, files)

    def sealed(self) -> str:
        return signing.dumps([self.path, self.fields, self.files], salt=SALT, compress=True)

    @classmethod
    def unsealed(cls, text: str) -> TypedForm | None:
        try:
            path, fields, files = signing.loads(text, salt=SALT, max_age=MAX_AGE)
        except (signing.BadSignature, ValueError, TypeError):
            return None
        return cls(path, [(name, value) for name, value in fields], files)

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Fields that the page lists: no secrets, no empty ones."""
        return [
            (name.replace("_", " "), value)
            for name, value in self.fields
            if value and name not in NOT_SHOWN and "secret" not in name
        ]


def signed_out(request: HttpRequest) -> HttpResponse:
    """Response to a form without a session: the sign-in page, which keeps the form."""
    typed = TypedForm.of(request)
    if typed is None or not is_same_origin(request):
        return redirect_to_login(_page_before(request))
    from speechportal.accounts.forms import LoginForm

    context = {
        "form": LoginForm(request),
        "next": _page_before(request),
        "typed": typed.sealed(),
        "session_ended": True,
        "action": reverse("login"),
    }
    return _unstored(render(request, "accounts/login.html", context, status=403))


def keep(request: HttpRequest, text: str) -> HttpResponse | None:
    """Store the kept form (``text``) in the session after the sign-in; redirects to :func:`send_again`."""
    typed = TypedForm.unsealed(text) if text else None
    if typed is None:
        return None
    request.session[SESSION_KEY] = [typed.path, typed.fields, typed.files]
    return redirect("send_again")


@never_cache
@login_required
def send_again(request: HttpRequest) -> HttpResponse:
    """Page with the form that was sent before the sign-in, and a button that sends it again."""
    kept: Any = request.session.pop(SESSION_KEY, None)
    if kept is None:
        return redirect("home")
    path, fields, files = kept
    return _ask(request, TypedForm(path, [tuple(field) for field in fields], files), status=200)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """View for failed CSRF checks (Django's ``CSRF_FAILURE_VIEW``)."""
    if not is_same_origin(request):
        return _unstored(render(request, "accounts/csrf_refused.html", status=403))
    if request.path == reverse("login"):
        return redirect(request.get_full_path())
    if not request.user.is_authenticated:
        return signed_out(request)
    typed = TypedForm.of(request)
    if typed is None:
        return _unstored(
            render(request, "accounts/csrf_refused.html", {"page": _page_before(request)}, status=403)
        )
    return _ask(request, typed, status=403)


def is_same_origin(request: HttpRequest) -> bool:
    """Whether a page of the portal sent the request; ``False`` if the headers do not say."""
    if site := request.headers.get("Sec-Fetch-Site", ""):
        return site == "same-origin"
    origin = request.headers.get("Origin", "") or request.headers.get("Referer", "")
    parts = urlsplit(origin)
    return bool(parts.netloc) and (parts.scheme, parts.netloc) == (request.scheme, request.get_host())


def _ask(request: HttpRequest, typed: TypedForm, *, status: int) -> HttpResponse:
    context = {"typed": typed, "page": _page_before(request)}
    return _unstored(render(request, "accounts/send_again.html", context, status=status))


def _page_before(request: HttpRequest) -> str:
    """Path of the page with the form, or the home page: many forms go to URLs without a page."""
    page = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure())
    if not page or not is_ours:
        return request.get_full_path() if request.method == "GET" else reverse(settings.LOGIN_REDIRECT_URL)
    parts = urlsplit(page)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _unstored(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
