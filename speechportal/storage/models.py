"""Object storages that an account may use."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from speechportal import encryption
from speechportal.accounts.models import Account
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.encryption import EncryptedCredentials, EncryptionError
from speechportal.storage import gateway, keys, local_folders
from speechportal.storage.backends.base import Finding, ObjectStore
from speechportal.storage.endpoints import check_endpoint_shape
from speechportal.storage.errors import ForbiddenFolder, InvalidKey, Misconfigured, SecretUnreadable
from speechportal.storage.providers import Provider, default_endpoint, default_region

SECRET_FIELD = "secret"  # noqa: S105 - the name that its ciphertext is bound to
S3_FIELDS = ("endpoint_url", "region", "bucket", "access_key", "encrypted_secret")

validate_bucket = RegexValidator(
    # Old buckets may have capitals and underscores.
    r"^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]\Z",
    _("A bucket’s name has 3 to 63 letters, digits, dots and hyphens."),
)
validate_line = RegexValidator(r"^[^\s\x00-\x1f\x7f]*\Z", _("Leave out spaces and line breaks."))


_is_local = models.Q(provider=Provider.LOCAL, root_path="", **dict.fromkeys(S3_FIELDS, ""))
_is_s3 = models.Q(provider__in=[p.value for p in Provider if p.is_s3], local_folder="")
for _field in S3_FIELDS:
    _is_s3 &= ~models.Q(**{_field: ""})


class Connection(models.Model):
    """An S3 bucket, or a path in it, with the credentials for it; or a local folder the operator allows."""

    uid = UidField("con")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="connections")
    name = models.CharField(_("name"), max_length=100)
    provider = models.CharField(_("storage"), max_length=20, choices=Provider.choices)
    endpoint_url = models.CharField(
        _("endpoint"),
        max_length=300,
        blank=True,
        help_text=_("The storage’s address, such as https://kr.object.ncloudstorage.com."),
    )
    region = models.CharField(_("region"), max_length=50, blank=True, validators=[validate_line])
    bucket = models.CharField(_("bucket"), max_length=63, blank=True, validators=[validate_bucket])
    root_path = models.CharField(
        _("path in the bucket"),
        max_length=500,
        blank=True,
        help_text=_("Batches see nothing outside of this path. Leave it empty for the whole bucket."),
    )
    access_key = models.CharField(_("access key"), max_length=200, blank=True, validators=[validate_line])
    encrypted_secret = models.TextField(blank=True, editable=False)
    local_folder = models.CharField(_("folder"), max_length=500, blank=True)
    last_ok_at = models.DateTimeField(_("last found in order"), null=True, editable=False)
    last_error = models.TextField(_("last error"), blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        ordering = ["name", "pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                "account",
                Lower("name"),
                name="connection_name_unique",
                violation_error_message=_("A connection with this name already exists."),
            ),
            models.CheckConstraint(
                condition=(_is_local & ~models.Q(local_folder="")) | _is_s3,
                name="connection_fits_provider",
                violation_error_message=_(
                    "A local folder needs its folder; every other storage its endpoint, region, bucket,"
                    " access key and secret."
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_local(self) -> bool:
        return self.provider == Provider.LOCAL

    @property
    def place(self) -> str:
        """Where the files are, for people."""
        return self.local_folder if self.is_local else f"{self.bucket}/{self.root_path}"

    def set_secret(self, secret: str) -> None:
        """Keep the secret that belongs to the access key, encrypted. Saved by ``save()``."""
        self.encrypted_secret = self._credentials().encrypt(secret) if secret else ""

    def store(self) -> ObjectStore:
        """The storage itself: the only use of the credentials. Raises ``StorageError``, not yet for a fault
        of the storage, which is not asked before something is wanted of it."""
        if self.is_local:
            return gateway.open_local(
                self.local_folder, account_uid=self.account.uid, connection_uid=self.uid
            )
        try:
            secret = self._credentials().decrypt(self.encrypted_secret)
        except EncryptionError as error:
            raise SecretUnreadable from error
        return gateway.open_s3(
            provider=Provider(self.provider),
            endpoint_url=self.endpoint_url,
            region=self.region,
            bucket=self.bucket,
            root_path=self.root_path,
            access_key=self.access_key,
            secret=secret,
        )

    def note_check(self, findings: list[Finding]) -> None:
        """Keep what a check found."""
        self.last_error = next((finding.message for finding in findings if not finding.ok), "")
        if not self.last_error:
            self.last_ok_at = timezone.now()
        Connection.unscoped.filter(pk=self.pk).update(last_error=self.last_error, last_ok_at=self.last_ok_at)

    def clean_fields(self, exclude: Any = None) -> None:
        self.root_path = keys.as_folder(self.root_path)
        self.endpoint_url = self.endpoint_url.strip().rstrip("/")
        if self.provider == Provider.LOCAL:
            for field in (*S3_FIELDS, "root_path"):
                setattr(self, field, "")
        elif self.provider in Provider.values:
            provider = Provider(self.provider)
            self.local_folder = ""
            self.endpoint_url = self.endpoint_url or default_endpoint(provider, self.region)
            self.region = self.region or default_region(provider, self.endpoint_url)
        super().clean_fields(exclude=exclude)

    def clean(self) -> None:
        super().clean()
        if self.is_local:
            self._clean_local_folder()
        else:
            self._clean_s3()

    def _clean_local_folder(self) -> None:
        if not self.local_folder:
            raise ValidationError({"local_folder": _("Enter the folder.")})
        try:
            root = local_folders.allowed_root(self.local_folder, self.account.uid)
        except ForbiddenFolder as error:
            raise ValidationError({"local_folder": str(error)}) from error
        self.local_folder = str(root).rstrip("/")
        others = Connection.unscoped.filter(provider=Provider.LOCAL).exclude(account=self.account_id)
        for folder in others.values_list("local_folder", flat=True):
            if local_folders.overlap(folder, self.local_folder):
                raise ValidationError({"local_folder": _("Another account uses this folder.")})

    def _clean_s3(self) -> None:
        wanted = {
            "endpoint_url": _("Enter the storage’s address."),
            "bucket": _("Enter the bucket’s name."),
            "access_key": _("Enter the access key."),
        }
        errors: dict[str, Any] = {name: text for name, text in wanted.items() if not getattr(self, name)}
        if self.endpoint_url:
            try:
                check_endpoint_shape(self.endpoint_url)
            except Misconfigured:
                errors["endpoint_url"] = _(
                    "Enter an address that begins with https:// or http:// and ends with the host or port."
                )
        try:
            keys.check_folder(self.root_path)
        except InvalidKey as error:
            errors["root_path"] = str(error)
        if errors:
            raise ValidationError(errors)

    def _credentials(self) -> EncryptedCredentials:
        return EncryptedCredentials(account=self.account.uid, row=self.uid, field=SECRET_FIELD)


def rotate_secrets() -> int:
    """Encrypt every stored secret with the first of ``ENCRYPTION_KEYS``; returns how many there are.

    Raises :class:`EncryptionError` for the first that no key fits; those before it are done.
    """
    rotated = 0
    for connection in Connection.unscoped.exclude(encrypted_secret="").iterator(chunk_size=200):
        old = connection.encrypted_secret
        # Only if nobody entered another secret meanwhile.
        rotated += Connection.unscoped.filter(pk=connection.pk, encrypted_secret=old).update(
            encrypted_secret=encryption.rotate(old)
        )
    return rotated
