"""Storage kinds of S3 servers: a bucket, or a path in it. The providers are presets of one kind."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

from speechportal.storage import gateway, keys
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.backends.kind import Owner, Parameter, StorageKind, Values
from speechportal.storage.endpoints import check_endpoint_shape
from speechportal.storage.errors import InvalidKey, Misconfigured
from speechportal.storage.providers import SITES, Provider, default_endpoint, default_region

validate_bucket = RegexValidator(
    # Names of old buckets may have capitals and underscores.
    r"^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]\Z",
    _("A bucket’s name has 3 to 63 letters, digits, dots and hyphens."),
)
validate_line = RegexValidator(r"^[^\s\x00-\x1f\x7f]*\Z", _("Leave out spaces and line breaks."))


def validate_endpoint(value: str) -> None:
    try:
        check_endpoint_shape(value)
    except Misconfigured as error:
        raise ValidationError(
            _("Enter an address that begins with https:// or http:// and ends with the host or port.")
        ) from error


def validate_root_path(value: str) -> None:
    if keys.is_address(value):
        raise ValidationError(
            _("Enter a path in the bucket, such as calls/in, without an address."), code="absolute_path"
        )
    try:
        keys.check_folder(value)
    except InvalidKey as error:
        raise ValidationError(str(error), code=error.code) from error


PARAMETERS = (
    Parameter(
        "region",
        _("Region"),
        _("Such as kr-standard or ap-northeast-2; left empty, the first one of the storage."),
        max_length=50,
        validators=(validate_line,),
    ),
    Parameter(
        "endpoint_url",
        _("Endpoint"),
        _(
            "The storage’s address. NAVER Cloud Platform and Amazon have one for each region: leave it"
            " empty for that."
        ),
        max_length=300,
        required=_("Enter the storage’s address."),
        validators=(validate_endpoint,),
        help_topic="storages#endpoint-and-region",
    ),
    Parameter(
        "bucket",
        _("Bucket"),
        max_length=63,
        required=_("Enter the bucket’s name."),
        validators=(validate_bucket,),
    ),
    Parameter(
        "root_path",
        _("Path in the bucket"),
        _("Batches see nothing outside of this path. Leave it empty for the whole bucket."),
        max_length=500,
        validators=(validate_root_path,),
        help_topic="storages#bucket-and-root-path",
    ),
    Parameter(
        "access_key",
        _("Access key"),
        required=_("Enter the access key."),
        confidential=True,
        help_topic="storages#what-the-access-key-must-be-allowed-to-do",
        validators=(validate_line,),
    ),
    Parameter(
        "secret",
        _("Secret"),
        max_length=1000,
        required=_("Enter the secret that belongs to the access key."),
        secret=True,
    ),
)


class S3Kind(StorageKind):
    parameters = PARAMETERS

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.name, self.label = provider.value, provider.label

    def normalise(self, values: Values) -> Values:
        endpoint = values.get("endpoint_url", "").strip().rstrip("/")
        region = values.get("region", "")
        endpoint = endpoint or default_endpoint(self.provider, region)
        return {
            **values,
            "endpoint_url": endpoint,
            "region": region or default_region(self.provider, endpoint),
            "root_path": keys.as_folder(values.get("root_path", "")),
        }

    def place(self, values: Mapping[str, str]) -> str:
        return f"{values.get('bucket', '')}/{values.get('root_path', '')}"

    def open(self, values: Mapping[str, str], owner: Owner) -> ObjectStore:
        return gateway.open_s3(
            provider=self.provider, **{each.name: values.get(each.name, "") for each in self.parameters}
        )

    def suggestions(self) -> list[dict[str, str]]:
        return [{"region": site.region, "endpoint_url": site.endpoint_url} for site in SITES[self.provider]]


KINDS = tuple(S3Kind(provider) for provider in Provider)
