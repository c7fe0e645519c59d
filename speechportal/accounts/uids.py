"""Public identifiers: a prefix for the kind of object, and 80 random bits in Crockford's base 32."""

from __future__ import annotations

import secrets
from typing import Any

from django.db import models

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
LENGTH = 16


def new_uid(prefix: str) -> str:
    return f"{prefix}_{''.join(secrets.choice(ALPHABET) for _ in range(LENGTH))}"


class UidField(models.CharField[str, str]):
    """Unique public identifier such as ``bat_3n8…``, generated when the row is created."""

    def __init__(self, prefix: str = "", **kwargs: Any) -> None:
        self.prefix = prefix
        kwargs.update(max_length=24, unique=True, editable=False)
        super().__init__(**kwargs)

    def deconstruct(self) -> tuple[str, str, Any, dict[str, Any]]:
        """Deconstruct to a plain ``CharField``, so that migrations do not import this class."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs

    def get_prep_value(self, value: Any) -> Any:
        """Replace NULs, which a URL may contain and PostgreSQL refuses; no ID contains one."""
        prepared = super().get_prep_value(value)
        return prepared.replace("\0", "\ufffd") if isinstance(prepared, str) else prepared

    def get_default(self) -> str:
        return new_uid(self.prefix)

    def has_default(self) -> bool:
        return True
