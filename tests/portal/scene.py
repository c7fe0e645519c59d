"""Test data for the browser tests: an account with an object of every kind."""

from __future__ import annotations

import math
import struct
import wave
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from batches.models import Batch, Charge, ExecutionResult, ResultFile, StoredTranscript, Task
from batches.recognition.transcript import Segment, Transcript, Word
from batches.tasks import lifecycle, scheduling
from domains.models import Domain, Keyword
from speechportal.accounts.models import Account, Membership, User
from speechportal.storage.models import Connection
from tests.factories import (
    add_member,
    make_account,
    make_batch,
    make_connection,
    make_domain,
    make_task,
    make_user,
)


@dataclass
class World:
    """An account with an object of every kind, and its three visitors."""

    server: str
    alice: User  # owns it
    bob: User  # may only look
    account: Account
    connection: Connection
    folder: Path
    domain: Domain  # of the batch
    free_domain: Domain  # without a batch
    batch: Batch
    task: Task  # completed, with a transcript
    failed: Task
    waiting: Task
    problems: list[str] = field(default_factory=list)

    def url(self, path: str = "/") -> str:
        return f"{self.server}{path}"

    @property
    def batch_path(self) -> str:
        return f"/batches/{self.batch.uid}/"

    @property
    def task_path(self) -> str:
        return f"{self.batch_path}tasks/{self.task.uid}/"


LINES = [
    ("1", "Good morning, this is the call centre."),
    ("2", "My order has not arrived yet."),
    ("1", "May I have the order number, please?"),
    ("2", "It is twenty twenty-six."),
]


def make_document(lines: list[tuple[str, str]] = LINES, seconds: float = 1.0) -> Transcript:
    """Each line takes ``seconds``; its words share them; the second word of each was heard badly."""
    segments = []
    for number, (speaker, text) in enumerate(lines):
        start, words = round(1000 * seconds * number), text.split()
        step = round(1000 * seconds / len(words))
        heard = [
            Word(start + step * at, start + step * (at + 1), f" {word}", 0.2 if at == 1 else 0.95, speaker)
            for at, word in enumerate(words)
        ]
        segments.append(Segment(start, start + step * len(words), text, heard, 0.9, speaker))
    return Transcript("en", 0.99, segments[-1].end, segments, speakers=["1", "2"])


def write_tone(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        samples = (round(3000 * math.sin(at / 3)) for at in range(round(8000 * seconds)))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


def make_world(server: str) -> World:
    number = User.objects.count()
    alice, bob = (make_user(f"{name}{number}@example.com") for name in ("alice", "bob"))
    account = make_account("한빛 콜센터", alice)
    add_member(account, bob, Membership.Role.VIEWER)
    folder = Path(settings.STORAGE_LOCAL_ROOTS[0]) / account.uid
    connection = make_connection(account, folder, name="통화 녹음")
    domain = make_domain(account, name="고객 상담", code="call-center")
    Keyword.unscoped.bulk_create(Keyword(domain=domain, text=text) for text in ("한빛", "배송 조회"))
    batch = make_batch(account, name="calls", domain=domain, connection=connection, speakers=True)
    batch.left_alone = [{"reason": "name", "count": 2, "names": ["in//왼쪽.wav", "in/../오른쪽.wav"]}]
    batch.save(update_fields=["left_alone"])
    make_domain(account, name="Free trial", code="free-trial", plan="free")
    done, failed, waiting = _tasks(batch, folder)
    return World(
        server=server,
        alice=alice,
        bob=bob,
        account=account,
        connection=connection,
        folder=folder,
        domain=domain,
        free_domain=make_domain(account, name="회의록", code="meetings"),
        batch=batch,
        task=done,
        failed=failed,
        waiting=waiting,
    )


def _tasks(batch: Batch, folder: Path) -> tuple[Task, Task, Task]:
    """Create a completed task with everything that belongs to it, a failed one, and a waiting one."""
    result = ExecutionResult.unscoped.create(
        account=batch.account,
        batch=batch,
        connection=batch.connection,
        number=1,
        task_count=2,
        key="out/calls-1.csv",
        written_at=timezone.now(),
    )
    Batch.unscoped.filter(pk=batch.pk).update(last_execution_result=1)
    write_tone(folder / "in" / "calls" / "monday.wav", 4.0)
    done = make_task(
        batch,
        "monday.wav",
        state="completed",
        media_duration=240_000,
        moved_key="in/calls/monday.wav",
        moved_at=timezone.now(),
        execution_result=result,
    )
    StoredTranscript.unscoped.create(task=done, stage="speakers", document=make_document().to_dict())
    ResultFile.unscoped.create(
        task=done,
        format="json",
        connection=batch.connection,
        key="out/monday.wav.json",
        size=2,
        written_at=timezone.now(),
    )
    (folder / "out" / "monday.wav.json").write_text("{}")
    Charge.unscoped.create(
        account=batch.account,
        batch=batch,
        task=done,
        batch_name=batch.name,
        domain_code="call-center",
        input_name=done.name,
        media_duration=240_000,
        amount=batch.account.price_per_file,
        currency=batch.account.currency,
    )
    failed = make_task(batch, "notes.txt", state="failed", execution_result=result)
    return done, failed, make_task(batch, "tuesday.wav")


def finish_waiting(world: World) -> None:
    """Complete the waiting tasks as workers would, without recognition, until the task of this world ends."""
    while Task.unscoped.get(pk=world.waiting.pk).state != Task.State.COMPLETED:
        claim = scheduling.claim_next("test")
        assert claim is not None
        lifecycle.finish(claim)
