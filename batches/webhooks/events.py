"""Webhook events: a class for each type, with its label and its payload.

To add an event, write a class here and call :func:`batches.webhooks.outbox.announce` where it happens.
Pages, the API and its OpenAPI document, support staff's pages and the help read the registry ``EVENTS``; the
database stores an event's type as plain text.
"""

from __future__ import annotations

import abc
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django.utils.translation import gettext_lazy as _

from batches.models import ExecutionResult, ResultFile, Task
from batches.webhooks import payload
from speechportal.accounts.models import Account

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

EVENTS: dict[str, type[Event]] = {}


class Event(abc.ABC):
    """Event that is sent to a batch's receiver.

    Type, ``about`` and ``occurrence`` together identify an event: announcing it twice creates one delivery.
    """

    type: ClassVar[str]
    label: ClassVar[_StrOrPromise]
    contents: ClassVar[
        _StrOrPromise
    ]  # contents of ``data`` besides the account and the batch, for the documentation
    carries_result: ClassVar[bool] = False  # whether the task's recognition result is added at sending

    def __init_subclass__(cls) -> None:
        EVENTS[cls.type] = cls

    @property
    @abc.abstractmethod
    def about(self) -> str:
        """ID of the object that the event is about; deliveries about one object are sent in order."""

    @property
    def occurrence(self) -> str:
        """Distinguishes events of one type about one object; at most 40 characters."""
        return ""

    @property
    def task(self) -> Task | None:
        """Task that the event belongs to, if any."""
        return None

    @abc.abstractmethod
    def data(self) -> dict[str, Any]:
        """Payload's ``data`` besides the account and the batch, as plain JSON."""


@dataclass(frozen=True)
class _TaskEnded(abc.ABC):
    ended: Task

    @property
    def about(self) -> str:
        return self.ended.uid

    @property
    def occurrence(self) -> str:
        """Time at which the task ended: a failed task that is retried ends once more."""
        return self.ended.finished_at.isoformat() if self.ended.finished_at else ""

    @property
    def task(self) -> Task | None:
        return self.ended

    def data(self) -> dict[str, Any]:
        files = ResultFile.unscoped.filter(task=self.ended, written_at__isnull=False)
        return payload.of_task(self.ended, files)


class TaskCompleted(_TaskEnded, Event):
    type = "task.completed"
    label = _("Task completed")
    contents = _("`task`; `result`, the recognition result in the shape of CLOVA Speech")
    carries_result = True


class TaskFailed(_TaskEnded, Event):
    type = "task.failed"
    label = _("Task failed")
    contents = _('`task`; `cause` (`code`, `message`); `result` with `"FAILED"`')


@dataclass(frozen=True)
class _BatchStatusChanged(abc.ABC):
    batch_uid: str
    code: str
    message: str
    number: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def about(self) -> str:
        return self.batch_uid

    @property
    def occurrence(self) -> str:
        return self.number

    def data(self) -> dict[str, Any]:
        return {"cause": {"code": self.code, "message": self.message}}


class BatchTurnedToError(_BatchStatusChanged, Event):
    """The batch's status turned to Error, or its cause changed."""

    type = "batch.error"
    label = _("Batch turned to Error")
    contents = _("`cause` of the batch's status Error")


class BatchRecovered(_BatchStatusChanged, Event):
    """The batch's status turned to Normal."""

    type = "batch.recovered"
    label = _("Batch recovered")
    contents = _("`cause`: the problem that is over")


@dataclass(frozen=True)
class ExecutionResultCreated(Event):
    """The execution result's file was written to the result path."""

    type = "execution_result.created"
    label = _("Execution result created")
    contents = _("`execution_result` with its `path` and its `tasks`")

    result: ExecutionResult

    @property
    def about(self) -> str:
        return self.result.uid

    def data(self) -> dict[str, Any]:
        return payload.of_execution_result(self.result)


@dataclass(frozen=True)
class BudgetReached(Event):
    """The account's budget for ``month`` (``2026-11``) does not cover another file.

    Once for each month and amount: a budget that was raised and is reached again is another event.
    """

    type = "budget.reached"
    label = _("Budget reached")
    contents = _("`budget`: `month`, `amount`, `spent`, `currency`; amounts are strings")

    account: Account
    month: str
    budget: Decimal
    spent: Decimal

    @property
    def about(self) -> str:
        return self.account.uid

    @property
    def occurrence(self) -> str:
        return f"{self.month}/{self.budget.normalize():f}"

    def data(self) -> dict[str, Any]:
        return {
            "budget": {
                "month": self.month,
                "amount": str(self.budget),
                "spent": str(self.spent),
                "currency": self.account.currency,
            }
        }


@dataclass(frozen=True)
class WebhookTest(Event):
    """Test message that a member asked for."""

    type = "webhook.test"
    label = _("Test")
    contents = _("`message`; a member asked for it")

    batch_uid: str
    message: str
    number: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def about(self) -> str:
        return self.batch_uid

    @property
    def occurrence(self) -> str:
        return self.number

    def data(self) -> dict[str, Any]:
        return {"message": self.message}


def of_ended_task(task: Task) -> Event:
    return TaskCompleted(task) if task.state == Task.State.COMPLETED else TaskFailed(task)


def labels() -> list[tuple[str, _StrOrPromise]]:
    """Types and labels, as choices."""
    return [(name, event.label) for name, event in EVENTS.items()]


def label_of(event_type: str) -> _StrOrPromise:
    """Label of an event type; the type itself if this release does not know it."""
    event = EVENTS.get(event_type)
    return event.label if event else event_type
