"""Storage kind of local folders, below the roots that the operator allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from speechportal.storage import gateway, local_folders
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.backends.kind import Owner, Parameter, StorageKind, Values
from speechportal.storage.errors import ForbiddenFolder, StorageError

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

FOLDER = "local_folder"


class LocalKind(StorageKind):
    name = "local"
    label = _("Local folder")
    serves_links = True
    parameters = (
        Parameter(
            FOLDER,
            _("Folder"),
            _("A folder of the account on the portal’s machine. It is made if there is none."),
            max_length=500,
            required=_("Enter the folder."),
            help_topic="storages#local-folders",
        ),
    )

    def is_available(self) -> bool:
        return bool(settings.STORAGE_LOCAL_ROOTS)

    def clean(self, values: Values, owner: Owner, others: Callable[[], list[str]]) -> Values:
        values = super().clean(values, owner, others)
        try:
            root = local_folders.allowed_root(values[FOLDER], owner.account_uid)
        except ForbiddenFolder as error:
            raise ValidationError({FOLDER: str(error)}) from error
        folder = str(root).rstrip("/")
        if any(local_folders.overlap(other, folder) for other in others()):
            raise ValidationError({FOLDER: _("Another account uses this folder.")})
        return {**values, FOLDER: folder}

    def place(self, values: Mapping[str, str]) -> str:
        return values.get(FOLDER, "")

    def open(self, values: Mapping[str, str], owner: Owner) -> ObjectStore:
        return gateway.open_local(
            values[FOLDER], account_uid=owner.account_uid, connection_uid=owner.connection_uid
        )

    def from_member(self, values: Values, owner: Owner, stored: Mapping[str, str]) -> Values:
        if FOLDER not in values:
            return values
        if self.fixed(stored, owner):
            return {**values, FOLDER: stored[FOLDER]}
        if not values[FOLDER].strip("/ "):
            raise ValidationError({FOLDER: _("Enter the folder.")})
        try:
            return {**values, FOLDER: str(local_folders.member_folder(owner.account_uid, values[FOLDER]))}
        except local_folders.AbsolutePath as error:
            raise ValidationError(
                {
                    FOLDER: ValidationError(
                        _(
                            "Enter a folder below the account’s own, such as calls/in: without a slash or a"
                            " drive at the beginning."
                        ),
                        code="absolute_path",
                    )
                }
            ) from error
        except StorageError as error:
            raise ValidationError({FOLDER: ValidationError(str(error), code=error.code)}) from error

    def for_member(self, values: Values, owner: Owner) -> Values:
        root = local_folders.member_root(owner.account_uid)
        return {**values, FOLDER: values.get(FOLDER, "").removeprefix(f"{root}/")} if root else values

    def fixed(self, values: Mapping[str, str], owner: Owner) -> dict[str, _StrOrPromise]:
        folder, root = values.get(FOLDER, ""), local_folders.member_root(owner.account_uid)
        if not folder or (root is not None and folder.startswith(f"{root}/")):
            return {}
        return {FOLDER: _("The operator has chosen this folder.")}

    def prepare(self, values: Mapping[str, str], owner: Owner) -> None:
        """Create a member's own folder; any other must exist already."""
        root, folder = local_folders.member_root(owner.account_uid), Path(values[FOLDER])
        if root is not None and folder.is_relative_to(root):
            folder.mkdir(parents=True, exist_ok=True)


KINDS = (LocalKind(),)
