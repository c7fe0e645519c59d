"""`PortalRequest`: an HTTP request with its account, from a session or from an API token."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest

from speechportal.accounts import addresses
from speechportal.accounts.models import Account, ApiToken, Membership, User
from speechportal.outbound import web_budget


class PortalRequest(HttpRequest):
    """Request of a member, or of a token that acts for one. A type only: see :func:`attach`."""

    user: User
    account: Account
    membership: Membership
    token: ApiToken | None
    request_id: str
    found_membership: Membership | None  # looked up once per request, before any view


def attach(request: HttpRequest, membership: Membership, token: ApiToken | None = None) -> PortalRequest:
    """Set the account of the request; returns the same object."""
    portal_request = cast("PortalRequest", request)
    portal_request.membership = membership
    portal_request.account = membership.account
    portal_request.token = token
    web_budget.name_account(membership.account.uid)
    addresses.bind(lambda: membership.account.uid)  # ended by the middleware, with the request
    return portal_request
