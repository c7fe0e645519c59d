"""Authentication backend: e-mail address and password, with throttling."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef
from django.http import HttpRequest

from speechportal.accounts.models import User
from speechportal.accounts.sign_in import second_factor, throttling
from speechportal.accounts.sign_in.passkeys import Passkey

MEMBER_BACKEND = "speechportal.accounts.sign_in.backends.MemberBackend"  # for login()


class MemberBackend(ModelBackend):
    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        """Return the user of an address and a password. While throttled, the password is not checked."""
        if username is None or password is None:
            return None
        if request is not None and throttling.seconds_to_wait(request, username):
            raise PermissionDenied
        user = super().authenticate(request, username=username, password=password)
        if request is not None:
            if user is None:
                throttling.count_failure(request, username)
            elif not second_factor.is_set_up(user.pk):
                throttling.signed_in(request, username)
        assert user is None or isinstance(user, User)  # noqa: S101 - the model of AUTH_USER_MODEL
        return user

    def get_user(self, user_id: int) -> User | None:
        """Load the user, and in the same query the second factors that every page checks."""
        users = User.objects.select_related("authenticator").annotate(
            owns_passkeys=Exists(Passkey.objects.filter(user=OuterRef("pk")))
        )
        user = users.filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None
