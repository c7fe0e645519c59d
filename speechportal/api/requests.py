"""`ApiRequest`: REST framework's wrapper of a :class:`speechportal.accounts.requests.PortalRequest`."""

from __future__ import annotations

from rest_framework.request import Request

from speechportal.accounts.models import Account, ApiToken, Membership, User


class ApiRequest(Request):
    """Request of an API view. A type only: its attributes are those of the wrapped request."""

    user: User
    auth: ApiToken
    account: Account
    membership: Membership
