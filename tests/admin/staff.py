"""Members of support staff, for the tests of their pages."""

from __future__ import annotations

from django.contrib.auth.models import Group

from speechportal.accounts.models import User
from tests import factories
from tests.clients import Client


def member_of(group: str) -> User:
    """Create a user in one of the groups of support staff."""
    user = factories.make_user(is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return user


def signed_in(group: str) -> Client:
    client = Client()
    client.force_login(member_of(group))
    return client
