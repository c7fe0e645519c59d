"""Errors of object storages, each with a code, a sentence and advice for the reader.

::

    StorageError
    ├── StorageFault
    ├── AccessDenied         permanent
    ├── WrongCredentials     permanent
    │   └── SecretUnreadable
    ├── BucketMissing        permanent
    ├── FolderMissing        permanent
    ├── NotFound             permanent   one file
    │   └── NoSuchFile       permanent   one file; none with this key is known
    ├── Changed              permanent   one file
    ├── TargetExists         permanent   one file
    ├── InvalidKey           permanent   one file
    ├── StorageFull          permanent
    ├── Unreachable
    │   ├── HostUnknown
    │   ├── ConnectionRefused
    │   ├── TlsFailed
    │   └── TimedOut
    ├── Throttled
    └── Misconfigured        permanent
        ├── ClockSkew
        ├── ForbiddenEndpoint
        ├── InsecureEndpoint
        ├── ForbiddenPort
        └── ForbiddenFolder
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise


class StorageError(Exception):
    """Base of all storage errors.

    ``code`` is stable; ``str()`` is the sentence with its advice in the current language; ``permanent`` means
    that a retry fails again until a person has changed something. ``key`` is the object of the request,
    ``answer`` the storage's own message (never a secret).
    """

    code: ClassVar[str] = "storage_fault"
    permanent: ClassVar[bool] = False
    sentence: ClassVar[_StrOrPromise] = _("The storage reported a fault.")
    advice: ClassVar[_StrOrPromise] = _("It will be tried again.")

    def __init__(self, key: str = "", *, answer: str = "") -> None:
        super().__init__(key, answer)
        self.key = key
        self.answer = answer

    @property
    def details(self) -> dict[str, str]:
        """Details from which :func:`sentence_of` formats the sentence in any language."""
        return {name: value for name, value in (("key", self.key), ("answer", self.answer)) if value}

    def __str__(self) -> str:
        return f"{sentence_of(self.code, self.details)} {self.advice}".strip()


def sentence_of(code: str, details: Mapping[str, str] | None = None) -> str:
    """Sentence of an error that was stored as ``code`` and ``details``, in the current language."""
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
    """Internal error of the storage, or any error that no other class fits."""


class AccessDenied(StorageError):
    code = "access_denied"
    permanent = True
    sentence = _("The storage denies access.")
    advice = _(
        "Check what the access key may do in this bucket and path: it must be allowed to list, read, write"
        " and delete. A bucket whose requesters pay is not supported."
    )


class WrongCredentials(StorageError):
    code = "wrong_credentials"
    permanent = True
    sentence = _("The storage does not accept the access key or its secret.")
    advice = _("Enter them again.")


class SecretUnreadable(WrongCredentials):
    code = "secret_unreadable"
    sentence = _("The stored secret of this connection cannot be decrypted.")
    advice = _("Enter it again, or have the operator restore the encryption key.")


class BucketMissing(StorageError):
    code = "bucket_missing"
    permanent = True
    sentence = _("There is no such bucket.")
    advice = _("Check the bucket’s name and the region of the connection.")


class FolderMissing(StorageError):
    code = "folder_missing"
    permanent = True
    sentence = _("The folder does not exist.")
    advice = _("Create it, or choose another path.")


class NotFound(StorageError):
    code = "not_found"
    permanent = True
    sentence = _("The file does not exist any more.")
    advice: ClassVar[_StrOrPromise] = ""


class NoSuchFile(NotFound):
    """No file has this key, and none is known to have had it."""

    code = "no_such_file"
    sentence = _("There is no such file.")
    advice = _("Check the spelling of the name, with capitals, and the path in front of it.")


class Changed(StorageError):
    code = "changed"
    permanent = True
    sentence = _("The file has changed meanwhile.")
    advice = ""


class TargetExists(StorageError):
    code = "target_exists"
    permanent = True
    sentence = _("Another file with this name is there already.")
    advice = _("Rename or remove one of them.")


class ObjectError(StorageError):
    """Error of a single file, which cannot be read or moved; other files are not affected."""

    code = "object_unreadable"
    permanent = True
    sentence = _("The storage does not let this file be read.")
    advice = _("Give the portal the right to read it, and retry the task.")


class ObjectArchived(ObjectError):
    code = "object_archived"
    sentence = _("The file is in an archive class of the storage.")
    advice = _("Restore it there, and retry the task.")


class ObjectEncrypted(ObjectError):
    code = "object_encrypted"
    sentence = _("The file is encrypted with a key of the customer’s own, which the portal does not have.")
    advice = _("Store it with the storage’s own encryption.")


class ObjectLocked(ObjectError):
    code = "object_locked"
    sentence = _("The storage keeps the file from being removed (object lock or retention).")
    advice = _("It stays where it is until its retention ends.")


class StorageFull(StorageError):
    code = "storage_full"
    permanent = True
    sentence = _("The storage is full or its quota is used up.")
    advice = _("Make room in it, or raise the quota.")


class Unreachable(StorageError):
    code = "unreachable"
    sentence = _("The storage does not answer.")
    advice = _("Check the endpoint; it will be tried again.")


class HostUnknown(Unreachable):
    code = "host_unknown"
    sentence = _("The storage’s host name is not known.")
    advice = _("Check the endpoint for typing errors.")


class ConnectionRefused(Unreachable):
    code = "connection_refused"
    sentence = _("Nothing accepts connections at the storage’s address.")
    advice = _("Check host and port of the endpoint, and that the storage runs; it will be tried again.")


class TlsFailed(Unreachable):
    code = "tls_failed"
    sentence = _("No trusted encrypted connection to the storage can be made.")
    advice = _("Check its certificate, and whether the endpoint begins with https:// or http://.")


class TimedOut(Unreachable):
    code = "timed_out"
    sentence = _("The storage did not answer in time.")
    advice = _("Check the endpoint; it will be tried again.")


class StorageBusy(StorageError):
    code = "storage_busy"
    sentence = _("Other requests of this account to a storage are under way. Try again in a moment.")


class FileTooLarge(StorageError):
    code = "larger_than_listed"
    permanent = True
    sentence = _("The file is larger than its listing says, or than what is allowed. It was not downloaded.")


class Throttled(StorageError):
    code = "throttled"
    sentence = _("The storage is busy.")
    advice = _("It will be tried again.")


class InvalidKey(StorageError):
    code = "invalid_key"
    permanent = True
    sentence = _(
        "This name cannot be used in the storage: at most 1,024 bytes, no empty parts,"
        " no “.” or “..” between slashes."
    )
    advice = _("Rename the file or folder.")


class Misconfigured(StorageError):
    code = "misconfigured"
    permanent = True
    sentence = _("The connection does not fit the storage.")
    advice: ClassVar[_StrOrPromise] = _("Check its endpoint and region.")


class ClockSkew(Misconfigured):
    code = "clock_skew"
    sentence = _("The clocks of this machine and of the storage differ too much.")
    advice = _("Set them right.")


class ForbiddenEndpoint(Misconfigured):
    code = "forbidden_endpoint"
    sentence = _("The endpoint lies in a private network, which the operator does not allow.")
    advice = _("Use a public endpoint, or ask the operator to allow private ones.")


class InsecureEndpoint(Misconfigured):
    code = "insecure_endpoint"
    sentence = _("The address must begin with https://.")
    advice = ""


class ForbiddenPort(Misconfigured):
    code = "forbidden_port"
    sentence = _("The endpoint’s port is none of those that the operator allows.")
    advice = _("Use another port, or ask the operator to allow this one.")


class ExtraMissing(Misconfigured):
    code = "extra_missing"
    sentence = _("This kind of storage is not installed here.")
    advice = _("The operator has to install it.")


class HostKeyUnknown(Misconfigured):
    code = "host_key_unknown"
    sentence = _("The server has another host key than the connection names: it may be another server.")
    advice = _("Check the key with whoever runs it.")


class ForbiddenFolder(Misconfigured):
    code = "forbidden_folder"
    sentence = _("The folder does not lie where the operator allows connections.")
    advice = _("Choose a folder below one that the operator allows.")
