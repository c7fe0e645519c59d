"""What a request to the API is, once its token is known."""

from __future__ import annotations

from rest_framework.request import Request

from speechportal.accounts.models import Account, ApiToken, Membership, User


class ApiRequest(Request):
    """A request whose sender is a token: what the views of the API get. Never made; only a type."""

    user: User
    auth: ApiToken
    account: Account
    membership: Membership
