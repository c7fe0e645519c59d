"""Dry run of a batch before it is saved: validates the form, tests the paths, counts the waiting files."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

from django.utils.translation import gettext_lazy as _

from batches.intake import duration_estimates
from batches.intake.input_path import walk
from batches.models import Batch, ProcessedFolder
from batches.models.batch import as_folder
from batches.services import batches as batch_services
from batches.services import tasks as task_services
from batches.services.batches import BatchFields, Refusal
from speechportal.storage import keys
from speechportal.storage.backends.base import Finding, ObjectStore
from speechportal.storage.errors import InvalidKey, StorageError
from speechportal.storage.models import Connection

MOST_FILES = 10_000  # counted files; with more, the count is shown as "more than"


@dataclass(frozen=True)
class Preview:
    """Result of a dry run. The ``findings`` of a path end at its first error; no files are counted then."""

    input_findings: list[Finding]
    result_findings: list[Finding]
    files: int = 0
    size: int = 0  # bytes
    is_more: bool = False
    names: list[str] = field(default_factory=list)  # the first few
    media_duration: int | None = None  # ms, estimated; None if unknown
    estimate: task_services.Estimate | None = None
    refused: list[Refusal] = field(default_factory=list)  # validation errors of the batch

    @property
    def paths_work(self) -> bool:
        return all(finding.ok for finding in [*self.input_findings, *self.result_findings])

    @property
    def is_fine(self) -> bool:
        return self.paths_work and not self.refused


def preview(
    *,
    connection: Connection,
    input_path: str,
    result_path: str,
    batch: Batch | None = None,
    others: BatchFields | None = None,
) -> Preview:
    """Validate the batch, test both paths with a small file, and count the waiting media files.

    ``batch`` is the one that is being edited, if any: its own paths are not an overlap. ``others`` has the
    other fields of the form.
    """
    fields = BatchFields(connection=connection, input_path=input_path, result_path=result_path)
    if others:
        fields.update(others)
    refused = batch_services.refusals(account=connection.account, batch=batch, **fields)
    return replace(_tried(connection, input_path, result_path), refused=refused)


def _tried(connection: Connection, input_path: str, result_path: str) -> Preview:
    source, target = as_folder(input_path), as_folder(result_path)
    try:
        for path in (source, target):
            if keys.is_address(path):
                raise InvalidKey(path)
            keys.check_folder(path)
        store = connection.store()
        if target:
            store.create_folder(target)  # Writing results creates it too; the input path must already exist.
    except StorageError as error:
        return Preview([], [Finding("open", _("Open the storage"), error)])
    found = Preview(store.check(source), store.check(target) if target != source else [])
    if not found.paths_work:
        return found
    try:
        return _counted(connection, store, source, found)
    except StorageError as error:
        return Preview([Finding("list", _("List files"), error)], found.result_findings)


def _counted(connection: Connection, store: ObjectStore, source: str, found: Preview) -> Preview:
    folders = ProcessedFolder.objects.for_account(connection.account).filter(connection=connection)
    skipped = set(folders.values_list("path", flat=True))
    waiting = list(itertools.islice(walk(store, source, skipped), MOST_FILES + 1))
    counted = waiting[:MOST_FILES]
    return Preview(
        found.input_findings,
        found.result_findings,
        files=len(counted),
        size=sum(file.size for file in counted),
        is_more=len(waiting) > MOST_FILES,
        media_duration=duration_estimates.estimate(connection.account, counted),
        names=[file.key[len(source) :] for file in counted[:5]],
        estimate=task_services.estimate(account=connection.account, files=len(counted)),
    )
