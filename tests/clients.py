"""A test client whose signed-in user works in one account, as in a browser tab."""

from __future__ import annotations

import time
from typing import Any

from django import test
from django.contrib.auth import SESSION_KEY as USER_KEY

from speechportal.accounts import addresses
from speechportal.accounts.access import SESSION_KEY
from speechportal.accounts.models import Membership, User
from speechportal.accounts.sign_in import fresh_password


class Client(test.Client):
    """Client that adds an account to URLs: the one that the user worked in last, or else their first.

    ``force_login`` is a sign-in with the password just now. From the sign-in on, ``reverse`` gives the same
    addresses in the test. An address with an account, or ``without_account=True``, is sent as it is.
    """

    def force_login(self, user: User, backend: str | None = None) -> None:
        super().force_login(user, backend)
        session = self.session
        session[fresh_password.SESSION_KEY] = int(time.time())
        session.save()
        addresses.bind(self._account)

    def generic(  # type: ignore[override] # the stubs name every argument
        self, method: str, path: str, *args: Any, without_account: bool = False, **kwargs: Any
    ) -> Any:
        path = str(path)
        if not without_account and addresses.is_address_without_account(path.partition("?")[0]):
            uid = self._account()
            path = f"/a/{uid}{path}" if uid else path
        return super().generic(method, path, *args, **kwargs)

    def _account(self) -> str | None:
        if "sessionid" not in self.cookies:
            return None
        session = self.session
        own = Membership.objects.filter(user=session.get(USER_KEY)).select_related("account")
        membership = own.filter(account__uid=session.get(SESSION_KEY, "")).first() or own.first()
        return membership.account.uid if membership else None
