"""Middleware of company sign-in: rechecks sessions with the provider, and reads a gateway's header."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from speechportal.accounts.models import User
from speechportal.accounts.sign_in.backends import MEMBER_BACKEND
from speechportal.accounts.single_sign_on import members, session
from speechportal.accounts.single_sign_on.configuration import group_rules
from speechportal.accounts.single_sign_on.protocol import SignInError

GATEWAY_KEY = "gateway_sign_in"  # session key of the e-mail address that the gateway sent


class CompanySessionMiddleware:
    """Ends sessions that the OpenID provider no longer confirms."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if session.KEY in request.session and isinstance(request.user, User):
            session.check(request, request.user)
        return self.get_response(request)


class GatewayMiddleware:
    """Signs in the user that a gateway names in ``SPEECHPORTAL_GATEWAY_EMAIL_HEADER``.

    Refuses a request that has this header but does not come from the gateway.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        name = settings.GATEWAY_EMAIL_HEADER
        if not name:
            return self.get_response(request)
        email = request.headers.get(name, "").strip()
        if email and not _is_gateway(request):
            return HttpResponse(
                "Only the gateway may set this header.", status=400, content_type="text/plain"
            )
        if request.session.get(GATEWAY_KEY, email) != email:
            logout(request)  # The gateway now names another user, or none.
        if email and request.session.get(GATEWAY_KEY) != email:
            try:
                _sign_in(request, email)
            except SignInError as error:
                return HttpResponse(str(error.sentence), status=403, content_type="text/plain; charset=utf-8")
        return self.get_response(request)


def _sign_in(request: HttpRequest, email: str) -> None:
    rules = group_rules()
    groups = request.headers.get(settings.GATEWAY_GROUPS_HEADER, "") if settings.GATEWAY_GROUPS_HEADER else ""
    roles = members.roles_of({group.strip() for group in groups.split(",") if group.strip()}, rules)
    user = members.user_by_address(email, roles)
    if not user.is_active:
        raise members.NotAMember("the user is deactivated")
    if settings.GATEWAY_GROUPS_HEADER:
        members.apply_roles(user, roles, rules)
    login(request, user, backend=MEMBER_BACKEND)
    request.session[GATEWAY_KEY] = email


def _is_gateway(request: HttpRequest) -> bool:
    """Whether the connection's peer is the gateway; addresses in headers do not count."""
    try:
        peer = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(peer in ipaddress.ip_network(network) for network in settings.GATEWAY_NETWORKS)
