"""Authentication backend that loads a session's user."""

from __future__ import annotations

from django.contrib.auth.backends import ModelBackend

from speechportal.accounts.models import User


class MemberBackend(ModelBackend):
    def get_user(self, user_id: int) -> User | None:
        """Load the user together with their authenticator app, which every page checks."""
        user = User.objects.select_related("authenticator").filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None
