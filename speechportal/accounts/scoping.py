"""Scoped manager: queries of tenant data require an account.

Every tenant model has two managers: ``objects`` requires an account, ``unscoped`` returns all rows and is for
workers, support staff and the ORM itself. A test checks that views, forms and the API use ``objects``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from django.db import models

if TYPE_CHECKING:
    from speechportal.accounts.models import Account

M = TypeVar("M", bound=models.Model)


class UnscopedQuery(RuntimeError):
    """Raised when ``objects`` is queried without an account."""


class ScopedManager(models.Manager[M]):
    """Manager with one query, ``for_account(account)``. ``path`` is the lookup to the account."""

    use_in_migrations = False

    def __init__(self, path: str = "account") -> None:
        super().__init__()
        self.path = path

    def get_queryset(self) -> models.QuerySet[M]:
        raise UnscopedQuery(f"{self.model.__name__}.objects needs an account: call for_account(account).")

    def for_account(self, account: Account) -> models.QuerySet[M]:
        return super().get_queryset().filter(**{self.path: account})
