"""First steps of an account, from its connection to its first transcript, and the sample recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Q
from django.utils.translation import gettext as _

from batches.intake import uploads
from batches.models import Batch, Task
from batches.operations.demo.sample import sample_path
from batches.services import batches as batch_services
from batches.services import selectors
from domains import services as domain_services
from domains.models import Domain
from speechportal.accounts.models import Account
from speechportal.storage import services as storage_services
from speechportal.storage.models import Connection

SAMPLE_CODE = "sample"  # code of the sample's domain
SAMPLE_FOLDER = "sample"
SAMPLE_FILE = "telephone conversation.wav"


@dataclass(frozen=True)
class Step:
    """One step; ``key`` names its form on the page of first steps."""

    key: str
    title: str
    detail: str
    done: bool


def steps(account: Account) -> list[Step]:
    """Steps in order; empty once the account has a transcript.

    A step is also done if a later one is.
    """
    if Task.objects.for_account(account).filter(state=Task.State.COMPLETED).exists():
        return []
    has_task = Task.objects.for_account(account).exists()
    has_batch = has_task or current_batch(account) is not None
    return [
        Step(
            "connection",
            _("Connect your storage"),
            _("The bucket or folder that recordings come from and results go to."),
            has_batch or usable_connection(account) is not None,
        ),
        Step(
            "domain",
            _("Create a domain"),
            _("A recognition profile with the names and terms to prefer."),
            has_batch or selectors.choosable_domains(account).exists(),
        ),
        Step(
            "batch",
            _("Create a batch"),
            _("It watches an input path and writes results to another."),
            has_batch,
        ),
        Step(
            "upload",
            _("Add a recording"),
            _("Drop it on the page, or put it into the input path."),
            has_task,
        ),
        Step(
            "transcript",
            _("Read the transcript"),
            _("It comes by itself, soon after the upload."),
            False,
        ),
    ]


def current_batch(account: Account) -> Batch | None:
    """Batch of the further steps: the newest."""
    return selectors.list_batches(account).select_related("account", "connection").order_by("-pk").first()


def usable_connection(account: Account) -> Connection | None:
    """Connection whose latest check succeeded, if any."""
    return Connection.objects.for_account(account).filter(last_error="").order_by("pk").first()


def faulty_connection(account: Account) -> Connection | None:
    """Connection to repair first, if any: its latest check failed."""
    return Connection.objects.for_account(account).exclude(last_error="").order_by("-pk").first()


def sample_recording(account: Account) -> Path | None:
    """Path of the sample recording, if it is installed and the account has, or may create, a storage."""
    if not settings.STORAGE_LOCAL_ROOTS and usable_connection(account) is None:
        return None
    try:
        path = sample_path()
    except FileNotFoundError:
        return None
    return path if path.is_file() else None


def try_sample(*, account: Account, recording: Path) -> Task:
    """Put the sample recording into a batch of its own, created if needed, and return its task. Idempotent.

    Raises ``ValidationError`` and ``StorageError``.
    """
    batch = _sample_batch(account)
    own = Task.objects.for_account(account).filter(batch=batch, name=SAMPLE_FILE).order_by("pk").first()
    if own is not None:
        return own
    assert batch.connection is not None  # noqa: S101 - a live batch has one
    batch.connection.store().put(uploads.checked_key(batch, SAMPLE_FILE), recording)
    return uploads.finish(batch=batch, name=SAMPLE_FILE)


def _sample_batch(account: Account) -> Batch:
    found = Q(domain__code=SAMPLE_CODE) & Q(input_path=f"{SAMPLE_FOLDER}/input/")
    batch = selectors.list_batches(account).select_related("account").filter(found).first()
    if batch is not None:
        return batch
    connection = usable_connection(account) or _sample_connection(account)
    domain = Domain.objects.for_account(account).filter(code=SAMPLE_CODE).first()
    domain = domain or domain_services.create_domain(
        account=account, name=_("Sample"), code=SAMPLE_CODE, plan=Domain.Plan.BASIC
    )
    return batch_services.create_batch(
        account=account,
        name=_("Sample"),
        domain=domain,
        connection=connection,
        input_path=f"{SAMPLE_FOLDER}/input/",
        result_path=f"{SAMPLE_FOLDER}/results/",
        recognition={"language": "en-US", "speakers": True},
    )


def _sample_connection(account: Account) -> Connection:
    """Create a connection to a local folder of the account, which the operator has to allow."""
    values = storage_services.from_member(account, "local", {"local_folder": SAMPLE_FOLDER})
    return storage_services.create_connection(account=account, name=_("Sample"), provider="local", **values)
