"""Every change of a connection, for the portal, Django admin and the API."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, Unpack

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from speechportal.accounts.models import Account
from speechportal.platform import validation
from speechportal.storage import local_folders
from speechportal.storage.backends.base import Finding
from speechportal.storage.errors import StorageError
from speechportal.storage.models import Connection

RULES = {"connection_name_unique": "name"}
OPEN = gettext_lazy("Open the storage")


class ConnectionFields(TypedDict, total=False):
    """What a member decides about a connection; which fields count depends on ``provider``."""

    name: str
    provider: str
    endpoint_url: str
    region: str
    bucket: str
    root_path: str
    access_key: str
    local_folder: str


def create_connection(
    *, account: Account, secret: str = "", **fields: Unpack[ConnectionFields]
) -> Connection:
    """Raises ``ValidationError``. The storage itself is not asked: see :func:`check_connection`."""
    return _save(Connection(account=account, **fields), secret)


def update_connection(
    *, connection: Connection, secret: str = "", **fields: Unpack[ConnectionFields]
) -> Connection:
    """Change what is given; an empty ``secret`` leaves the present one. Raises ``ValidationError``."""
    for name, value in fields.items():
        setattr(connection, name, value)
    return _save(connection, secret)


def delete_connection(*, connection: Connection) -> None:
    """The files stay. Raises ``ValidationError`` while a batch uses the connection."""
    try:
        connection.delete()
    except ProtectedError as error:
        names = [_("“%s”") % batch.name for batch in connection.batches.all()]
        raise ValidationError(
            _("These batches use the connection: %s. Delete them first, or give them another connection.")
            % ", ".join(names),
            code="connection_in_use",
        ) from error


def check_connection(*, connection: Connection, path: str = "") -> list[Finding]:
    """Try everything the portal does with the storage on a small file, and keep what was found."""
    try:
        findings = connection.store().check(path)
    except StorageError as error:
        findings = [Finding("open", OPEN, error)]
    connection.note_check(findings)
    return findings


def _save(connection: Connection, secret: str) -> Connection:
    if secret and not connection.is_local:
        connection.set_secret(secret)
    elif not connection.is_local and not connection.encrypted_secret:
        raise ValidationError({"secret": _("Enter the secret that belongs to the access key.")})
    validation.clean(connection, RULES)
    try:
        with transaction.atomic():
            connection.save()
    except IntegrityError as error:
        if "connection_name_unique" in str(error):
            taken = _("A connection with this name already exists.")
            raise ValidationError({"name": taken}) from error
        raise
    if connection.is_local:
        _make_folder(connection)
    return connection


def _make_folder(connection: Connection) -> None:
    """A member's own folder is made on the spot; any other is the operator's to make."""
    root = local_folders.member_root(connection.account.uid)
    folder = Path(connection.local_folder)
    if root is not None and folder.is_relative_to(root):
        folder.mkdir(parents=True, exist_ok=True)
