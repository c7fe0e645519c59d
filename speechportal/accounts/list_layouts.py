"""List layouts: the columns, filters and order that a user has saved for a list of the portal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

from django.db import transaction

from speechportal.accounts.models import User

MOST_CHARACTERS = 2000  # of a saved query


@dataclass(frozen=True)
class ListLayout:
    """Layout of a list: ``columns`` in order (empty: the default) and ``query``, the URL's query string."""

    columns: tuple[str, ...] = ()
    query: str = ""

    @classmethod
    def of(cls, user: User, name: str) -> Self:
        kept = user.list_layouts.get(name)
        if not isinstance(kept, Mapping):
            return cls()
        return cls(tuple(map(str, kept.get("columns", ()))), str(kept.get("query", "")))


def keep(user: User, name: str, columns: Sequence[str], query: str) -> None:
    """Save a layout of the list ``name``. A query that is too long is not saved."""
    layout = ListLayout(tuple(columns), query if len(query) <= MOST_CHARACTERS else "")
    with transaction.atomic():
        locked = User.objects.select_for_update().get(pk=user.pk)
        layouts = {**locked.list_layouts, name: asdict(layout)}
        User.objects.filter(pk=user.pk).update(list_layouts=layouts)
