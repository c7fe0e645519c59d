"""Authentication backend: e-mail address and password, within the limits of the sign-in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from speechportal.accounts.models import User
from speechportal.accounts.sign_in import second_factor, throttling


class MemberBackend(ModelBackend):
    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        """The user of an address and a password. During a wait the password is not even looked at."""
        if username is None or password is None:
            return None
        if request is not None and throttling.seconds_to_wait(request, username):
            raise PermissionDenied
        user = super().authenticate(request, username=username, password=password)
        if request is not None:
            if user is None:
                throttling.count_failure(request, username)
            elif second_factor.app_of(user.pk) is None:
                throttling.signed_in(request, username)
        assert user is None or isinstance(user, User)  # noqa: S101 - the model of AUTH_USER_MODEL
        return user

    def get_user(self, user_id: int) -> User | None:
        """Load the user together with their authenticator app, which every page checks."""
        user = User.objects.select_related("authenticator").filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None
