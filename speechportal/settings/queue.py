"""Queue clusters: `recognition` for long work, `deliveries` for webhooks, `short` for everything else.

See `speechportal/platform/queue.py`.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from speechportal.service_urls import redis
from speechportal.settings.batches import DELIVERY_WORKERS
from speechportal.settings.installation import env
from speechportal.settings.recognition import RECOGNITION_WORKERS

env.section = "queue"
SHORT_WORKERS = env.integer(
    "SHORT_WORKERS", 3, minimum=2, description=_("Workers for polling, moving and reporting on this machine.")
)
REDIS_URL = env.text(
    "REDIS_URL",
    shown=_("none: the database carries the messages"),
    description=_("`redis://HOST:PORT/0`: Redis carries the queue’s messages (install the extra `redis`)."),
)
Q_CLUSTER: dict[str, Any] = {
    "name": "short",
    "label": "Queue",
    # Broker: the database or Redis, which is more efficient with many machines.
    **({"redis": redis(REDIS_URL)} if REDIS_URL else {"orm": "default"}),
    "poll": 0.5,
    "workers": SHORT_WORKERS,
    "queue_limit": SHORT_WORKERS,
    "bulk": 1,
    "timeout": 300,
    "retry": 900,
    "ack_failures": True,
    "max_attempts": 3,
    "catch_up": False,
    "guard_cycle": 0.5,  # django-q2 counts timeouts in guard cycles; other values make them wrong.
    "save_limit": 200,
    "log_level": "WARNING",
    "ALT_CLUSTERS": {
        "recognition": {
            "workers": RECOGNITION_WORKERS,  # The cluster starts more if an engine takes several files.
            # The retry timeout starts when a message is fetched: fetch one at a time, and wait far longer
            # than any task may take. Lost work is found by its lease, not by the queue.
            "queue_limit": 1,
            "bulk": 1,
            "timeout": 24 * 3600,
            "retry": 48 * 3600,
            "recycle": 100_000,
        },
        # One sender has many requests in flight at once; a second one takes over while it is replaced.
        "deliveries": {"workers": DELIVERY_WORKERS, "queue_limit": DELIVERY_WORKERS, "bulk": 1},
    },
}


# Companions of a cluster's main process, besides its workers: classes by the cluster's name.
CLUSTER_COMPANIONS = {"recognition": "batches.worker.engines.ClusterEngines"}

# Check of the watchdog of `manage.py run`: a callable that returns the names of stalled clusters.
STALLED_CLUSTERS = "batches.operations.health.stalled_clusters"
