"""Storage kinds through django-storages: Azure Blob Storage, Google Cloud Storage and SFTP.

Each needs an optional dependency of the portal. Without it the kind is not offered, and existing connections
of the kind report the missing dependency.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

from speechportal.storage import keys, local_file_links
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.backends.kind import Owner, Parameter, StorageKind, Values
from speechportal.storage.backends.kind_s3 import PARAMETERS as S3_PARAMETERS
from speechportal.storage.backends.kind_s3 import validate_line
from speechportal.storage.endpoints import check_endpoint, check_host
from speechportal.storage.errors import ExtraMissing, Misconfigured

_S3 = {parameter.name: parameter for parameter in S3_PARAMETERS}
GOOGLE = "https://storage.googleapis.com"
validate_account = RegexValidator(
    r"^[a-z0-9]{3,24}\Z", _("The name of a storage account has 3 to 24 small letters and digits.")
)
validate_host = RegexValidator(
    r"^[A-Za-z0-9.:_-]{1,253}\Z", _("Enter the host’s name or address, without a port.")
)
validate_port = RegexValidator(r"^[1-9][0-9]{0,4}\Z", _("Enter a port, such as 22."))
validate_folder = RegexValidator(
    r"^[^\x00-\x1f\x7f\\]*\Z", _("Enter a path of the server, such as /upload/calls.")
)


class RemoteKind(StorageKind):
    """Kind whose client library is optional: ``module``, installed by the portal's extra ``extra``."""

    module: str
    extra: str
    serves_links = True

    def is_available(self) -> bool:
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:  # a parent package is missing
            return False

    def require(self) -> None:
        if not self.is_available():
            raise ExtraMissing(answer=f"pip install 'speechportal[{self.extra}]'")


class AzureKind(RemoteKind):
    name, label = "azure", _("Azure Blob Storage")
    module, extra = "azure.storage.blob", "azure"
    parameters = (
        Parameter(
            "account_name",
            _("Storage account"),
            max_length=24,
            required=_("Enter the name of the storage account."),
            validators=(validate_account,),
            help_topic="storages#azure-blob-storage",
        ),
        _S3["endpoint_url"],
        _S3["bucket"],
        _S3["root_path"],
        Parameter(
            "account_key",
            _("Account key"),
            max_length=500,
            required=_("Enter a key of the storage account."),
            secret=True,
        ),
    )

    def normalise(self, values: Values) -> Values:
        endpoint = values.get("endpoint_url", "").strip().rstrip("/")
        account = values.get("account_name", "").strip()
        if not endpoint and account:
            endpoint = f"https://{account}.blob.core.windows.net"
        root = keys.as_folder(values.get("root_path", ""))
        return {**values, "account_name": account, "endpoint_url": endpoint, "root_path": root}

    def place(self, values: Mapping[str, str]) -> str:
        return f"{values.get('account_name', '')}/{values.get('bucket', '')}/{values.get('root_path', '')}"

    def open(self, values: Mapping[str, str], owner: Owner) -> ObjectStore:
        self.require()
        from speechportal.storage.backends.azure import AzureSettings, AzureStore

        endpoint, account = values["endpoint_url"], values["account_name"]
        check_endpoint(endpoint)
        # An emulator has the storage account's name in the path instead of the host name.
        if not (urlsplit(endpoint).hostname or "").startswith(f"{account}."):
            endpoint = f"{endpoint}/{account}"
        given = AzureSettings(
            endpoint_url=endpoint,
            account_name=account,
            account_key=values.get("account_key", ""),
            container=values["bucket"],
            root=keys.check_folder(values.get("root_path", "")),
        )
        return AzureStore(given, partial(local_file_links.make, owner.connection_uid))


class GcsKind(RemoteKind):
    name, label = "gcs", _("Google Cloud Storage")
    module, extra = "google.cloud.storage", "google"
    parameters = (
        _S3["endpoint_url"],
        _S3["bucket"],
        _S3["root_path"],
        Parameter(
            "service_account",
            _("Key of a service account"),
            _(
                "The JSON file that Google made for the service account, whole. Or that of a user who signed"
                " in with gcloud: then links go through the portal."
            ),
            max_length=10_000,
            required=_("Enter the key of a service account, in JSON."),
            secret=True,
            multiline=True,
            help_topic="storages#google-cloud-storage",
        ),
    )

    def normalise(self, values: Values) -> Values:
        endpoint = values.get("endpoint_url", "").strip().rstrip("/") or GOOGLE
        return {
            **values,
            "endpoint_url": endpoint,
            "root_path": keys.as_folder(values.get("root_path", "")),
        }

    def place(self, values: Mapping[str, str]) -> str:
        return f"{values.get('bucket', '')}/{values.get('root_path', '')}"

    def open(self, values: Mapping[str, str], owner: Owner) -> ObjectStore:
        self.require()
        from speechportal.storage.backends.gcs import GcsSettings, GcsStore

        check_endpoint(values["endpoint_url"])
        given = GcsSettings(
            bucket=values["bucket"],
            service_account=values.get("service_account", ""),
            endpoint_url=values["endpoint_url"],
            root=keys.check_folder(values.get("root_path", "")),
        )
        return GcsStore(given, partial(local_file_links.make, owner.connection_uid))


class SftpKind(RemoteKind):
    name, label = "sftp", _("SFTP server")
    module, extra = "paramiko", "sftp"
    parameters = (
        Parameter(
            "host",
            _("Host"),
            max_length=253,
            required=_("Enter the server’s name or address."),
            validators=(validate_host,),
            help_topic="storages#sftp",
        ),
        Parameter("port", _("Port"), max_length=5, default="22", validators=(validate_port,)),
        Parameter(
            "folder",
            _("Folder of the server"),
            _("Batches see nothing outside of this folder. Leave it empty for the user’s home."),
            max_length=500,
            validators=(validate_folder,),
        ),
        Parameter(
            "username",
            _("User name"),
            required=_("Enter the user’s name."),
            confidential=True,
            validators=(validate_line,),
        ),
        Parameter(
            "host_key",
            _("Host key"),
            _("The server’s public key, as ssh-keyscan prints it, or its fingerprint: SHA256:…"),
            max_length=2000,
            required=_("Enter the server’s host key or its fingerprint."),
        ),
        Parameter("password", _("Password"), max_length=1000, secret=True),
        Parameter(
            "private_key",
            _("Private key"),
            _("Instead of a password: in OpenSSH’s or PEM format, without a passphrase."),
            max_length=10_000,
            secret=True,
            multiline=True,
        ),
    )

    def normalise(self, values: Values) -> Values:
        folder = values.get("folder", "").strip()
        return {
            **values,
            "host": values.get("host", "").strip(),
            "port": values.get("port", "").strip() or "22",
            "folder": folder.rstrip("/") + "/" if folder else "",
        }

    def clean(self, values: Values, owner: Owner, others: object) -> Values:
        values = super().clean(values, owner, list)
        if keys.is_address(values.get("folder", "")):
            raise ValidationError({"folder": validate_folder.message}, code="absolute_path")
        if any(part == ".." for part in values.get("folder", "").split("/")):
            raise ValidationError({"folder": _("A path cannot contain “.” or “..” as a folder.")})
        if int(values["port"]) > 65_535:
            raise ValidationError({"port": _("Enter a port, such as 22.")})
        return values

    def place(self, values: Mapping[str, str]) -> str:
        return f"{values.get('host', '')}:{values.get('port', '')}/{values.get('folder', '').lstrip('/')}"

    def open(self, values: Mapping[str, str], owner: Owner) -> ObjectStore:
        self.require()
        from speechportal.storage.backends.sftp import SftpStore
        from speechportal.storage.backends.sftp_connection import SftpSettings

        if not values.get("host"):
            raise Misconfigured
        check_host(values["host"], int(values["port"]))
        given = SftpSettings(
            host=values["host"],
            port=int(values["port"]),
            username=values["username"],
            host_key=values["host_key"],
            password=values.get("password", ""),
            private_key=values.get("private_key", ""),
            root=values.get("folder", ""),
        )
        return SftpStore(given, partial(local_file_links.make, owner.connection_uid))


KINDS = (AzureKind(), GcsKind(), SftpKind())
