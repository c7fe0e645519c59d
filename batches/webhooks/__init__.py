"""Webhooks: a batch's receiver is told what happened, signed, in order, and until it has accepted.

``events`` makes deliveries, in the transaction of what they tell. ``states`` claims them and records what
came of each attempt, ``sender`` sends them, ``endpoint`` looks after a batch's secret and health,
``redelivery`` is what members ask for, and ``selectors`` is what they see. ``payload`` documents what is
sent; ``signing`` and ``schedule`` are the arithmetic.
"""

from batches.webhooks.events import (
    announce,
    announce_batch_error,
    announce_batch_recovered,
    announce_budget_reached,
    announce_execution_result,
    announce_task,
)

__all__ = [
    "announce",
    "announce_batch_error",
    "announce_batch_recovered",
    "announce_budget_reached",
    "announce_execution_result",
    "announce_task",
]
