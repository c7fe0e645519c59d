"""The one gate to tenant data.

Every tenant model has two managers: ``objects`` opens only with an account in hand, ``unscoped`` sees all
rows and is for workers, support staff and the ORM itself. A test holds views, forms and the API to
``objects``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from django.db import models

if TYPE_CHECKING:
    from speechportal.accounts.models import Account

M = TypeVar("M", bound=models.Model)


class UnscopedQuery(RuntimeError):
    """Tenant data was asked for without saying whose."""


class ScopedManager(models.Manager[M]):
    """``objects.for_account(account)`` is the only way in. ``path`` leads from the model to its account."""

    use_in_migrations = False

    def __init__(self, path: str = "account") -> None:
        super().__init__()
        self.path = path

    def get_queryset(self) -> models.QuerySet[M]:
        raise UnscopedQuery(f"{self.model.__name__}.objects needs an account: call for_account(account).")

    def for_account(self, account: Account) -> models.QuerySet[M]:
        return super().get_queryset().filter(**{self.path: account})
