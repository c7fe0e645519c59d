"""Who a session belongs to, with all that every page asks of them."""

from __future__ import annotations

from django.contrib.auth.backends import ModelBackend

from speechportal.accounts.models import User


class MemberBackend(ModelBackend):
    def get_user(self, user_id: int) -> User | None:
        """With the authenticator app, so that no page needs a query of its own for it."""
        user = User.objects.select_related("authenticator").filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None
