"""Client requests: store the file of a request in the batch's input path and make its task at once.

Each file has a folder of its own below one of the interface, so that names never collide. A poll may find the
file first; both then use the same task.
"""

from __future__ import annotations

import secrets
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from batches.billing import budget
from batches.intake import uploads
from batches.intake.input_path import is_media
from batches.models import Batch, ClientRequest, Task
from batches.models.task_settings import TaskOverrides
from batches.services import selectors
from domains.models import Domain
from speechportal.accounts.models import Account
from speechportal.api.problems import Problem
from speechportal.outbound import client
from speechportal.outbound.errors import OutboundError
from speechportal.outbound.policy import policy
from speechportal.platform import queue
from speechportal.storage import keys
from speechportal.storage.backends.base import ObjectStore, StoredFile
from speechportal.storage.errors import InvalidKey, NoSuchFile, NotFound

NAME_BYTES = 200


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """Options of a request, as they are stored with its task."""

    interface: str
    overrides: TaskOverrides = field(default_factory=TaskOverrides)
    answer: dict[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    fingerprint: str = ""
    callback: str = ""


def batch_of_domain(account: Account, domain: Domain) -> Batch:
    """The batch that recognises a domain's files. Raises ``Problem``."""
    batch = selectors.list_batches(account).filter(domain=domain).first()
    if batch is None:
        sentence = _("The domain “%s” has no batch, which is what recognises files. Create one first.")
        raise Problem(409, "domain_without_batch", sentence % domain.code)
    return require_usable(batch)


def batch_named(account: Account, name: str) -> Batch:
    """The batch that a client means by ``name``: its ID or name, or the ID or code of its domain.

    Without a name: the batch that takes the requests that name none; else the account's only one. Raises
    ``Problem``.
    """
    batches = selectors.list_batches(account).order_by("pk")
    if name:
        for lookup in ("uid", "domain__uid", "domain__code__iexact", "name"):
            if (batch := batches.filter(**{lookup: name}).first()) is not None:
                return require_usable(batch)
        raise Problem(404, "batch_not_found", _("There is no batch or domain “%s” in this account.") % name)
    found = list(batches.filter(takes_requests=True)[:1] or batches[:2])
    if len(found) == 1:
        return require_usable(found[0])
    if found:
        sentence = _(
            "The account has several batches. Name one, or let one take the requests that name none."
        )
        raise Problem(409, "batch_ambiguous", sentence)
    raise Problem(409, "no_batch", _("The account has no batch, which is what recognises files."))


def require_usable(batch: Batch) -> Batch:
    """The batch, if it recognises files at present. Raises ``Problem``."""
    if batch.is_paused:
        raise Problem(409, "batch_paused", _("The batch “%s” is paused. Resume it first.") % batch.name)
    account = batch.account
    if account.is_suspended:
        raise Problem(403, "account_suspended", _("The account is suspended: nothing new is recognised."))
    if not budget.covers(account, account.price_per_file):
        raise Problem(429, "budget_reached", _("The account’s monthly budget is reached."))
    return batch


@contextmanager
def spooled(media: UploadedFile[bytes]) -> Iterator[Path]:
    """An uploaded file as a file on this machine, for the length of the context."""
    if (media.size or 0) > settings.MAX_MEDIA_BYTES:
        raise Problem(413, "media_too_large", _("The file is larger than the limit of this portal."))
    settings.WORK_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=settings.WORK_DIR, prefix="request-") as file:
        for chunk in media.chunks():
            file.write(chunk)
        file.flush()
        yield Path(file.name)


def take_file(batch: Batch, options: RequestOptions, name: str, file: Path) -> Task:
    """A file that came with the request. Raises ``ValidationError`` and ``StorageError``."""
    return make_task(batch, options, _store(batch).put(_new_key(batch, options, name), file))


def take_url(batch: Batch, options: RequestOptions, url: str) -> Task:
    """A file at an address, fetched by the guarded client. Raises like :func:`take_file`."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    key = _new_key(batch, options, name)
    settings.WORK_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.WORK_DIR, prefix="request-") as folder:
        path = Path(folder) / "media"
        with path.open("wb") as file:
            _fetch(url, file)
        stored = _store(batch).put(key, path)
    return make_task(batch, options, stored)


def _fetch(url: str, file: BinaryIO) -> None:
    timeout, most = settings.CLOVA_FETCH_SECONDS, settings.MAX_MEDIA_BYTES
    try:
        client.get(url, file, timeout=timeout, max_body=most, policy=policy())
    except OutboundError as error:
        raise ValidationError({"url": ValidationError(error.message, code=error.code)}) from error


def take_object(batch: Batch, options: RequestOptions, data_key: str) -> Task:
    """A file in the batch's storage, by a key below its input path or below the connection's root.

    A file in the watched path becomes its task at once, where it lies. Of any other a copy is recognised.
    """
    store = _store(batch)
    source = _find(batch, store, data_key)
    in_watched_path = source.key.startswith(batch.input_path) and is_media(source.key)
    if in_watched_path and not _is_left_alone(batch, source.key):
        earlier = Task.unscoped.filter(batch=batch, input_key=source.key, input_version=source.version)
        if not earlier.exclude(state=Task.State.WAITING, client_request=None).exists():
            return make_task(batch, options, source)
    name = PurePosixPath(source.key).name
    return make_task(batch, options, store.copy(source.key, _new_key(batch, options, name)))


def _find(batch: Batch, store: ObjectStore, data_key: str) -> StoredFile:
    """The file that a client means: names in composed and decomposed Unicode stand for the same file."""
    key = data_key.removeprefix("/")
    spellings = dict.fromkeys([key, *(unicodedata.normalize(form, key) for form in ("NFC", "NFD"))])
    try:
        for path in dict.fromkeys([batch.input_path, ""]):
            for spelling in spellings:
                if (found := store.stat(keys.check_key(path + spelling))) is not None:
                    return found
    except InvalidKey as error:
        raise ValidationError({"dataKey": ValidationError(str(error), code=error.code)}) from error
    # A finished input was moved aside; for its client it is still where it was.
    wanted = {batch.input_path + spelling for spelling in spellings} | set(spellings)
    earlier = Task.unscoped.filter(batch=batch, input_key__in=wanted)
    moved = earlier.exclude(moved_key="").first()
    if moved is not None and (found := store.stat(moved.moved_key)) is not None:
        return found
    missing = NotFound(key) if earlier.exists() else NoSuchFile(key)
    raise ValidationError({"dataKey": ValidationError(str(missing), code=missing.code)})


def check_callback(url: str) -> None:
    """Raises ``ValidationError`` for an address that nothing would be sent to. Asks the name service."""
    if not url:
        return
    try:
        client.check_endpoint(url, policy())
    except OutboundError as error:
        raise ValidationError({"callback": ValidationError(error.message, code=error.code)}) from error


def _is_left_alone(batch: Batch, key: str) -> bool:
    """Whether polling passes it by: a folder of finished inputs or of results."""
    try:
        uploads.checked_key(batch, key.removeprefix(batch.input_path))
    except ValidationError:
        return True
    return False


def _new_key(batch: Batch, options: RequestOptions, name: str) -> str:
    """A free key for a file of this name. Raises ``ValidationError`` where it would not be recognised."""
    clean = "".join(letter for letter in unicodedata.normalize("NFC", name) if letter.isprintable())
    stem, ending = PurePosixPath(clean).stem, PurePosixPath(clean).suffix
    short = stem.encode()[:NAME_BYTES].decode(errors="ignore") or "media"
    return uploads.checked_key(batch, f"{options.interface}/{secrets.token_hex(8)}/{short}{ending}")


def _store(batch: Batch) -> ObjectStore:
    assert batch.connection is not None  # noqa: S101 - a live batch has one
    return batch.connection.store()


def make_task(batch: Batch, options: RequestOptions, file: StoredFile) -> Task:
    """The task of a stored file, with what its sender asked for. Raises ``ValidationError``."""
    with transaction.atomic():
        locked = Batch.unscoped.live().select_for_update(no_key=True).filter(pk=batch.pk).first()
        if locked is None:
            raise ValidationError(_("The batch was deleted meanwhile."), code="batch_deleted")
        task = _new_task(locked, options, file) or _polled_task(locked, options, file)
        ClientRequest.unscoped.create(
            task=task,
            interface=options.interface,
            answer=options.answer,
            ignored=list(options.ignored),
            fingerprint=options.fingerprint,
            callback=options.callback,
        )
        queue.wake_recognition(1)
    return task


def _new_task(batch: Batch, options: RequestOptions, file: StoredFile) -> Task | None:
    try:
        with transaction.atomic():
            task = Task.unscoped.create(
                account_id=batch.account_id,
                batch=batch,
                connection_id=batch.connection_id,
                task_order=batch.last_task_order + 1,
                input_key=file.key,
                input_version=file.version,
                input_size=file.size,
                input_modified_at=file.modified,
                name=file.key.removeprefix(batch.input_path),
                overrides=options.overrides,
            )
    except IntegrityError:
        return None  # Polling was quicker.
    Batch.unscoped.filter(pk=batch.pk).update(last_task_order=task.task_order)
    return task


def _polled_task(batch: Batch, options: RequestOptions, file: StoredFile) -> Task:
    task = Task.unscoped.get(
        batch=batch, input_key=file.key, input_version=file.version, original__isnull=True
    )
    Task.unscoped.filter(pk=task.pk, state=Task.State.WAITING, settings__isnull=True).update(
        overrides=options.overrides, **options.overrides.model_columns()
    )
    return task
