"""What can go wrong with an object storage, in words that tell what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise


class StorageError(Exception):
    """A storage did not do what was asked.

    ``code`` is stable, ``str()`` is a sentence for the user in the language of the moment, and
    ``permanent`` says that trying again will not help before a person has changed something. ``key`` is
    what was asked for, ``answer`` what the storage said (never a secret).
    """

    code: ClassVar[str] = "storage_fault"
    permanent: ClassVar[bool] = False
    sentence: ClassVar[_StrOrPromise] = _("The storage reported a fault. It will be tried again.")

    def __init__(self, key: str = "", *, answer: str = "") -> None:
        super().__init__(key, answer)
        self.key = key
        self.answer = answer

    @property
    def details(self) -> dict[str, str]:
        """What :func:`describe` needs to say it again in another language."""
        return {name: value for name, value in (("key", self.key), ("answer", self.answer)) if value}

    def __str__(self) -> str:
        return describe(self.code, self.details)


def describe(code: str, details: dict[str, str] | None = None) -> str:
    """The sentence of an error that was stored as ``code`` and ``details``, in the current language."""
    kind = _by_code().get(code, StorageError)
    answer = (details or {}).get("answer", "")
    if not answer:
        return str(kind.sentence)
    return gettext("%(sentence)s (The storage’s answer: %(answer)s)") % {
        "sentence": kind.sentence,
        "answer": answer,
    }


def _by_code() -> dict[str, type[StorageError]]:
    kinds: dict[str, type[StorageError]] = {}
    waiting: list[type[StorageError]] = [StorageError]
    while waiting:
        kind = waiting.pop()
        kinds.setdefault(kind.code, kind)
        waiting.extend(kind.__subclasses__())
    return kinds


class StorageFault(StorageError):
    """An internal error of the storage, or one that nothing below fits."""


class AccessDenied(StorageError):
    code = "access_denied"
    permanent = True
    sentence = _(
        "The storage denies access. Check what the access key may do in this bucket and path:"
        " it must be allowed to list, read, write and delete."
    )


class WrongCredentials(StorageError):
    code = "wrong_credentials"
    permanent = True
    sentence = _("The storage does not accept the access key or its secret. Enter them again.")


class SecretUnreadable(WrongCredentials):
    code = "secret_unreadable"
    sentence = _(
        "The stored secret of this connection cannot be decrypted."
        " Enter it again, or have the operator restore the encryption key."
    )


class BucketMissing(StorageError):
    code = "bucket_missing"
    permanent = True
    sentence = _("There is no such bucket. Check the bucket’s name and the region of the connection.")


class FolderMissing(StorageError):
    code = "folder_missing"
    permanent = True
    sentence = _("The folder does not exist. Create it, or choose another path.")


class NotFound(StorageError):
    code = "not_found"
    permanent = True
    sentence = _("The file does not exist any more.")


class Changed(StorageError):
    code = "changed"
    permanent = True
    sentence = _("The file has changed meanwhile.")


class TargetExists(StorageError):
    code = "target_exists"
    permanent = True
    sentence = _("Another file with this name is there already. Rename or remove one of them.")


class StorageFull(StorageError):
    code = "storage_full"
    permanent = True
    sentence = _("The storage is full or its quota is used up. Make room in it, or raise the quota.")


class Unreachable(StorageError):
    code = "unreachable"
    sentence = _("The storage does not answer. Check the endpoint; it will be tried again.")


class HostUnknown(Unreachable):
    code = "host_unknown"
    sentence = _("The storage’s host name is not known. Check the endpoint for typing errors.")


class ConnectionRefused(Unreachable):
    code = "connection_refused"
    sentence = _(
        "Nothing accepts connections at the storage’s address. Check host and port of the endpoint,"
        " and that the storage runs; it will be tried again."
    )


class TlsFailed(Unreachable):
    code = "tls_failed"
    sentence = _(
        "No trusted encrypted connection to the storage can be made. Check its certificate,"
        " and whether the endpoint begins with https:// or http://."
    )


class TimedOut(Unreachable):
    code = "timed_out"
    sentence = _("The storage did not answer in time. Check the endpoint; it will be tried again.")


class Throttled(StorageError):
    code = "throttled"
    sentence = _("The storage is busy. It will be tried again.")


class InvalidKey(StorageError):
    code = "invalid_key"
    permanent = True
    sentence = _(
        "This name cannot be used in the storage: at most 1,024 bytes, no empty parts,"
        " no “.” or “..” between slashes."
    )


class Misconfigured(StorageError):
    code = "misconfigured"
    permanent = True
    sentence = _("The connection does not fit the storage. Check its endpoint and region.")


class ClockSkew(Misconfigured):
    code = "clock_skew"
    sentence = _("The clocks of this machine and of the storage differ too much. Set them right.")


class ForbiddenEndpoint(Misconfigured):
    code = "forbidden_endpoint"
    sentence = _("The endpoint lies in a private network, which the operator does not allow.")


class InsecureEndpoint(Misconfigured):
    code = "insecure_endpoint"
    sentence = _("The address must begin with https://.")


class ForbiddenPort(Misconfigured):
    code = "forbidden_port"
    sentence = _("The endpoint’s port is none of those that the operator allows.")


class ForbiddenFolder(Misconfigured):
    code = "forbidden_folder"
    sentence = _("The folder does not lie where the operator allows connections.")
