"""The tables of batch recognition, a module for each group."""

from batches.models.adjustment import Adjustment
from batches.models.batch import Arrival, Batch, FinishedFolder
from batches.models.clova import ClovaRequest
from batches.models.correction import Correction, SearchText
from batches.models.delivery import Delivery, DeliveryAttempt, Webhook
from batches.models.fault import ConnectionFault
from batches.models.ledger import Charge, ExecutionResult
from batches.models.task import ResultFile, Task, Transcript

__all__ = [
    "Adjustment",
    "Arrival",
    "Batch",
    "Charge",
    "ClovaRequest",
    "ConnectionFault",
    "Correction",
    "Delivery",
    "DeliveryAttempt",
    "ExecutionResult",
    "FinishedFolder",
    "ResultFile",
    "SearchText",
    "Task",
    "Transcript",
    "Webhook",
]
