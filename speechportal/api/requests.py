"""`ApiRequest`: REST framework's wrapper of a :class:`speechportal.accounts.requests.PortalRequest`."""

from __future__ import annotations

from rest_framework.request import Request

from speechportal.accounts.models import Account, ApiToken, Membership, User


class ApiRequest(Request):
    """A request of an API view. Only a type: its attributes are those of the wrapped request."""

    user: User
    auth: ApiToken
    account: Account
    membership: Membership
