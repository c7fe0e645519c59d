"""Services that create, change, test and delete connections, for the portal, Django admin and the API."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from speechportal.accounts.models import Account
from speechportal.platform import validation
from speechportal.storage import field_defaults, kinds
from speechportal.storage.backends.base import Finding
from speechportal.storage.backends.kind import Owner
from speechportal.storage.errors import StorageError
from speechportal.storage.models import Connection

RULES = {"connection_name_unique": "name"}
OPEN = gettext_lazy("Open the storage")


def create_connection(*, account: Account, name: str, provider: str, **values: str) -> Connection:
    """Create a connection. ``values`` are those of the kind's parameters, with secrets; others are ignored.

    Raises ``ValidationError``. Does not contact the storage: see :func:`check_connection`.
    """
    return _save(Connection(account=account, name=name, provider=provider), values)


def update_connection(*, connection: Connection, name: str | None = None, **values: str) -> Connection:
    """Change the given values; an empty secret keeps the present one. Raises ``ValidationError``."""
    if name is not None:
        connection.name = name
    return _save(connection, {key: value for key, value in values.items() if key != "provider"})


def from_member(
    account: Account, provider: str, values: dict[str, str], connection: Connection | None = None
) -> dict[str, str]:
    """Convert values as a member entered them to those that :func:`create_connection` takes.

    Raises ``ValidationError`` by parameter.
    """
    kind = kinds.KINDS.get(provider)
    if kind is None:
        return values
    stored = connection.parameters if connection is not None else {}
    own = {each.name for each in kind.parameters}
    known = {name: value for name, value in values.items() if name in own}
    return kind.from_member(known, Owner(account.uid, connection.uid if connection else ""), stored)


def delete_connection(*, connection: Connection) -> None:
    """Delete a connection; its files stay. Raises ``ValidationError`` while a batch uses it."""
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
    """Test all operations of the portal on the storage with a small file, and store the result."""
    try:
        findings = connection.store().check(path)
    except StorageError as error:
        findings = [Finding("open", OPEN, error)]
    connection.note_check(findings)
    return findings


def renew_notification_address(*, connection: Connection) -> None:
    """Renew the URL for notifications: the previous one is refused from then on."""
    connection.notification_nonce = field_defaults.notification_nonce()
    connection.save(update_fields=["notification_nonce"])


def _save(connection: Connection, values: dict[str, str]) -> Connection:
    kind = kinds.KINDS.get(connection.provider)
    missing: dict[str, Any] = {}
    for parameter in kind.parameters if kind else ():
        given = values.get(parameter.name)
        if not parameter.secret:
            if given is not None:
                connection.parameters = {**connection.parameters, parameter.name: given}
        elif given:
            connection.set_secret(given, parameter.name)
        elif parameter.required and not connection.encrypted_secret:
            missing[parameter.name] = parameter.required
    if missing:
        raise ValidationError(missing)
    validation.clean(connection, RULES)
    try:
        with transaction.atomic():
            connection.save()
    except IntegrityError as error:
        if "connection_name_unique" in str(error):
            taken = _("A connection with this name already exists.")
            raise ValidationError({"name": taken}) from error
        raise
    connection.kind.prepare(connection.parameters, connection.owner)
    return connection
