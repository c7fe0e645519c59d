"""Models of batch recognition, in one module per group of tables.

Django finds the models of an app in this package, so it imports them all.
"""

from batches.models.adjustment import Adjustment
from batches.models.batch import Batch, PendingFile, ProcessedFolder
from batches.models.client_request import ClientRequest
from batches.models.connection_backoff import ConnectionBackoff
from batches.models.correction import CorrectedWord, Correction, SearchText
from batches.models.delivery import Delivery, DeliveryAttempt, Webhook
from batches.models.ledger import Charge, ExecutionResult
from batches.models.notifications import BatchEvent, ChatChannel, Subscription
from batches.models.recognition_host import RecognitionHost
from batches.models.result_file import ResultFile
from batches.models.served_model import ServedModel
from batches.models.settled_usage import SettledUsage, UsageMark
from batches.models.stored_transcript import StoredTranscript
from batches.models.streamed_segments import StreamedSegments
from batches.models.task import Task
from batches.models.task_attempt import TaskAttempt
from batches.models.task_trace import TaskTrace

__all__ = [
    "Adjustment",
    "Batch",
    "BatchEvent",
    "Charge",
    "ChatChannel",
    "ClientRequest",
    "ConnectionBackoff",
    "CorrectedWord",
    "Correction",
    "Delivery",
    "DeliveryAttempt",
    "ExecutionResult",
    "PendingFile",
    "ProcessedFolder",
    "RecognitionHost",
    "ResultFile",
    "SearchText",
    "ServedModel",
    "SettledUsage",
    "StoredTranscript",
    "StreamedSegments",
    "Subscription",
    "Task",
    "TaskAttempt",
    "TaskTrace",
    "UsageMark",
    "Webhook",
]
