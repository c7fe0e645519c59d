"""Serializers of batches, tasks and results."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from batches.api.setting_fields import input_field, output_field
from batches.formats import FORMATS
from batches.intake import left_alone
from batches.intake.left_alone import REASONS
from batches.models import Batch, Task, TaskAttempt
from batches.models.batch import CSV_COLUMNS, NOTE_LENGTH, validate_batch_name
from batches.models.recognition_settings import SETTINGS
from batches.services.acknowledgements import SUBJECTS
from batches.services.selected_tasks import ACTIONS
from batches.services.task_filters import FLAGS
from batches.status.failures import Failure, failure_of_batch, failure_of_task
from domains.models import Domain
from speechportal.accounts.models import LONGEST_RETENTION
from speechportal.api.fields import (
    AccountRelatedField,
    Choice,
    StrictBooleanField,
    StrictCharField,
    StrictIntegerField,
)
from speechportal.api.permissions import webhook_url_for
from speechportal.api.serializers import Input, Output
from speechportal.storage.models import Connection

FORMAT_NAMES = [(each.name, each.label) for each in FORMATS.values()]
PRIORITIES = {"low": -1, "normal": 0, "high": 1}


class Reference(serializers.Serializer[Any]):
    """Reference to another object of the account."""

    id = serializers.CharField(source="uid")
    name = serializers.CharField()


class DomainReference(Reference):
    """Reference to the domain, which is the batch's recognition profile."""

    code = serializers.CharField()


class CauseOutput(serializers.Serializer[Any]):
    """A failure reason with its advice."""

    code = serializers.CharField(help_text="For programs. Stable.")
    message = serializers.CharField(source="sentence")
    advice = serializers.CharField(allow_blank=True)


class ProgressOutput(serializers.Serializer[Any]):
    """Progress of a batch, in files."""

    found = serializers.IntegerField()
    waiting = serializers.IntegerField()
    running = serializers.IntegerField()
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()


class LeftAloneOutput(serializers.Serializer[Any]):
    """Files and folders that a poll of the input path skipped for one reason."""

    reason = serializers.ChoiceField([(reason, str(title)) for reason, (title, _advice) in REASONS.items()])
    title = serializers.CharField()
    advice = serializers.CharField()
    count = serializers.IntegerField()
    names = serializers.ListField(
        child=serializers.CharField(), help_text=f"The first {left_alone.NAMES_KEPT} of them."
    )


class Priority(serializers.ChoiceField):
    """Priority field: a word in the API, a number in the database, by which batches are sorted."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[(name, name) for name in PRIORITIES], **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in PRIORITIES:
            self.fail("invalid_choice", input=data)
        return PRIORITIES[data]

    def to_representation(self, value: Any) -> Any:
        return next(name for name, number in PRIORITIES.items() if number == value)


class BatchInput(Input):
    name = StrictCharField(
        max_length=100,
        validators=[validate_batch_name],
        help_text="Also the folder that finished inputs are moved to.",
    )
    domain = AccountRelatedField(Domain, help_text="The ID of a Basic domain that has no batch yet.")
    connection = AccountRelatedField(Connection, help_text="The ID of the connection that holds both paths.")
    input_path = StrictCharField(
        max_length=900,
        allow_blank=True,
        required=False,
        help_text="The folder that is watched; empty for the whole connection.",
    )
    result_path = StrictCharField(
        max_length=900, allow_blank=True, required=False, help_text="Where results are written."
    )
    formats = serializers.ListField(
        child=Choice(FORMAT_NAMES),
        required=False,
        min_length=1,
        help_text="Each recognised file gets a result file in every one of them.",
    )
    priority = Priority(required=False, help_text="Among the batches of the account.")
    transcript_days = StrictIntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=LONGEST_RETENTION,
        help_text="How many days transcripts are kept; the account's own days count where they are fewer.",
    )
    webhook_url = StrictCharField(
        max_length=2000,
        required=False,
        allow_blank=True,
        help_text="Receives a message for every finished task.",
    )
    poll_seconds = StrictIntegerField(
        required=False,
        allow_null=True,
        min_value=10,
        max_value=86_400,
        help_text="Seconds between polls of the input path; null for the portal's interval.",
    )
    settle_seconds = StrictIntegerField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=86_400,
        help_text="Seconds that a file must stay unchanged before it is taken; null for the portal's time.",
    )
    csv_columns = serializers.ListField(
        child=Choice(CSV_COLUMNS),
        required=False,
        help_text="Columns of execution results besides the usual ones.",
    )
    takes_requests = StrictBooleanField(
        required=False, help_text="Whether requests by OpenAI's API that name no batch use this one."
    )

    def get_fields(self) -> dict[str, Any]:
        made = {name: input_field(name, setting) for name, setting in SETTINGS.items()}
        return {**super().get_fields(), **made}


class BatchOutput(Output):
    """A batch, which recognises the new files in its input path."""

    passing = frozenset(
        {
            *("status", "cause", "progress", "polled_at", "left_alone", "paused_at"),
            *("acknowledged_at", "acknowledgement"),
        }
    )

    id = serializers.CharField(source="uid", help_text="Begins with `bat_`.")
    name = serializers.CharField()
    domain = DomainReference(allow_null=True)
    connection = Reference(allow_null=True)
    input_path = serializers.CharField()
    result_path = serializers.CharField()
    formats = serializers.ListField(child=serializers.ChoiceField(FORMAT_NAMES))
    priority = Priority()
    transcript_days = serializers.IntegerField(allow_null=True)
    webhook_url = serializers.SerializerMethodField(help_text="Viewers see only its host.")
    poll_seconds = serializers.IntegerField(allow_null=True)
    settle_seconds = serializers.IntegerField(allow_null=True)
    csv_columns = serializers.ListField(child=serializers.ChoiceField(CSV_COLUMNS))
    takes_requests = serializers.BooleanField()
    status = serializers.ChoiceField(Batch.Status.choices)
    cause = serializers.SerializerMethodField(help_text="Why the status is `error`.")
    acknowledged_at = serializers.DateTimeField(
        allow_null=True, help_text="When a member marked the error as seen."
    )
    acknowledgement = serializers.CharField(allow_blank=True, help_text="The member's note.")
    progress = serializers.SerializerMethodField()
    paused_at = serializers.DateTimeField(allow_null=True)
    polled_at = serializers.DateTimeField(allow_null=True, help_text="The last poll of the input path.")
    left_alone = serializers.SerializerMethodField(help_text="What this poll skipped, by reason.")
    created_at = serializers.DateTimeField()
    deleted_at = serializers.DateTimeField(allow_null=True)

    def get_webhook_url(self, batch: Batch) -> str:
        return webhook_url_for(self.context.get("request"), batch.webhook_url)

    def get_fields(self) -> dict[str, Any]:
        made = {name: output_field(name, setting) for name, setting in SETTINGS.items()}
        return {**super().get_fields(), **made}

    @extend_schema_field(CauseOutput(allow_null=True))
    def get_cause(self, batch: Batch) -> dict[str, Any] | None:
        return cause_document(failure_of_batch(batch))

    @extend_schema_field(LeftAloneOutput(many=True))
    def get_left_alone(self, batch: Batch) -> Any:
        return LeftAloneOutput(left_alone.groups(batch), many=True).data

    @extend_schema_field(ProgressOutput)
    def get_progress(self, batch: Batch) -> dict[str, Any]:
        return dict(ProgressOutput(self.context["progress"][batch.pk]).data)


class ResultFileOutput(serializers.Serializer[Any]):
    format = serializers.ChoiceField(FORMAT_NAMES)
    key = serializers.CharField(help_text="Object name in the connection.")
    size = serializers.IntegerField(allow_null=True, help_text="In bytes.")
    written_at = serializers.DateTimeField()


class TaskAttemptOutput(serializers.Serializer[Any]):
    """An attempt that did not complete the task."""

    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField()
    outcome = serializers.ChoiceField(TaskAttempt.Outcome.choices)
    cause = serializers.SerializerMethodField(help_text="Why it ended; null for a cancelled one.")
    host = serializers.CharField(source="worker", help_text="The worker that tried.")

    @extend_schema_field(CauseOutput(allow_null=True))
    def get_cause(self, attempt: TaskAttempt) -> dict[str, Any] | None:
        return cause_document(failure_of_task(attempt))


class TaskOutput(Output):
    """One input file, from its discovery to its final state."""

    id = serializers.CharField(source="uid", help_text="Begins with `tsk_`.")
    batch = Reference()
    task_order = serializers.IntegerField()
    name = serializers.CharField(help_text="The input's path below the input path.")
    input_key = serializers.SerializerMethodField(help_text="Where the input file is now.")
    input_size = serializers.IntegerField(help_text="In bytes.")
    state = serializers.ChoiceField(Task.State.choices)
    stage = serializers.ChoiceField(Task.Stage.choices, allow_blank=True)
    progress = serializers.IntegerField(help_text="In per cent.")
    attempts = serializers.IntegerField()
    cause = serializers.SerializerMethodField(help_text="Why it failed, or what holds it up.")
    attempt_history = serializers.SerializerMethodField(
        help_text="Attempts that did not complete it, also those before a retry: the latest 20, oldest first."
    )
    acknowledged_at = serializers.DateTimeField(
        allow_null=True, help_text="When a member marked its failure as seen."
    )
    acknowledgement = serializers.CharField(allow_blank=True, help_text="The member's note.")
    media_duration = serializers.IntegerField(allow_null=True, help_text="In milliseconds.")
    whisper_model = serializers.CharField(help_text="Speech recognition model; empty until the task starts.")
    speaker_model = serializers.CharField(help_text="Diarization model; empty until the task starts.")
    result_files = serializers.SerializerMethodField()
    execution_result = serializers.CharField(
        source="execution_result.uid", allow_null=True, default=None, help_text="Its ID."
    )
    original = serializers.CharField(
        source="original.uid",
        allow_null=True,
        default=None,
        help_text="The ID of the task whose file this one recognises again.",
    )
    ignored_parameters = serializers.SerializerMethodField(
        help_text="Parameters of a request by CLOVA's or OpenAI's API that have no effect here.",
    )
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_input_key(self, task: Task) -> str:
        return task.moved_key if task.moved_at else task.input_key

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_ignored_parameters(self, task: Task) -> list[str]:
        # The reverse of a one-to-one relation raises where there is no row.
        request = getattr(task, "client_request", None)
        return [] if request is None else list(request.ignored)

    @extend_schema_field(CauseOutput(allow_null=True))
    def get_cause(self, task: Task) -> dict[str, Any] | None:
        return cause_document(failure_of_task(task))

    @extend_schema_field(TaskAttemptOutput(many=True))
    def get_attempt_history(self, task: Task) -> Any:
        return TaskAttemptOutput(task.attempt_history.all(), many=True).data

    @extend_schema_field(ResultFileOutput(many=True))
    def get_result_files(self, task: Task) -> Any:
        written = [file for file in task.result_files.all() if file.written_at]
        return ResultFileOutput(written, many=True).data


class Count(serializers.Serializer[Any]):
    """How many objects an action changed."""

    count = serializers.IntegerField()


class Link(serializers.Serializer[Any]):
    """A URL that works without a token until it expires."""

    url = serializers.CharField()
    method = serializers.ChoiceField(["GET", "PUT"])
    expires_at = serializers.DateTimeField()


class UploadLink(Link):
    """An upload URL: send the file's bytes to it as the body of a request with this method."""

    key = serializers.CharField(help_text="The file's name in the connection.")


class UploadInput(Input):
    name = StrictCharField(max_length=900, help_text="The name below the input path: `monday/call.mp3`.")
    replace = StrictBooleanField(
        default=False, help_text="Whether an existing file of this name may be overwritten; otherwise 409."
    )


class UploadName(Input):
    name = StrictCharField(max_length=900, help_text="As it was given to `uploads`.")


class TaskFilterInput(Input):
    """Filter of a batch's tasks: all conditions must hold; without any, every task matches."""

    state = Choice(Task.State.choices, required=False)
    q = StrictCharField(max_length=900, required=False, help_text="Part of a name, or a whole ID.")
    model = StrictCharField(max_length=200, required=False, help_text="A Whisper or speaker model.")
    since = serializers.DateField(required=False, help_text="Discovered on this day or later.")
    until = serializers.DateField(required=False, help_text="Discovered on this day or earlier.")
    shortest = StrictIntegerField(min_value=0, max_value=10_000, required=False, help_text="Minutes.")
    longest = StrictIntegerField(min_value=0, max_value=10_000, required=False, help_text="Minutes.")
    language = StrictCharField(max_length=20, required=False, help_text="As recognised: `ko`.")
    speakers = StrictIntegerField(
        min_value=0, max_value=100, required=False, help_text="Number of speakers in the transcript."
    )
    flag = Choice([(name, name) for name in FLAGS], required=False, help_text="A remark of recognition.")


class TaskActionInput(Input):
    action = Choice([(name, name) for name in ACTIONS])
    ids = serializers.ListField(
        child=StrictCharField(max_length=40),
        required=False,
        allow_empty=False,
        max_length=1000,
        help_text="Tasks of this batch. Either these or `filter`.",
    )
    filter = TaskFilterInput(required=False)
    note = StrictCharField(
        max_length=NOTE_LENGTH, allow_blank=True, required=False, help_text="Of `acknowledge`."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("ids" in attrs) == ("filter" in attrs):
            raise serializers.ValidationError(_("Give either ids or filter."), code="ids_or_filter")
        return attrs


class AcknowledgeInput(Input):
    note = StrictCharField(max_length=NOTE_LENGTH, allow_blank=True, default="")


class AcknowledgeSubjectInput(AcknowledgeInput):
    subject = Choice(
        [(name, name) for name in SUBJECTS],
        help_text="The batch's error, or its stopped webhook and the messages that were not accepted.",
    )


class TaskActionOutput(serializers.Serializer[Any]):
    """Result of an action on many tasks."""

    done = serializers.IntegerField()
    passed_over = serializers.IntegerField(help_text="Skipped: their state does not allow the action.")


def cause_document(failure: Failure | None) -> dict[str, Any] | None:
    return dict(CauseOutput(failure).data) if failure else None
