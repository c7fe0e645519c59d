"""Prometheus metrics, read from the database at each scrape, so that every process returns the same.

Apps register their collectors with :func:`collector`. The result is cached for some seconds, so that several
scrapers cost no more than one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from threading import Lock

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from speechportal.platform import queue
from speechportal.platform.models import NamedLease

logger = logging.getLogger(__name__)
KEPT_SECONDS = 10
Collector = Callable[[], Iterable[Metric]]
_collectors: list[Collector] = []
_lock = Lock()
_kept: tuple[float, bytes] | None = None


def collector(function: Collector) -> Collector:
    _collectors.append(function)
    return function


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"speechportal_{name}", text, value=value)


def labelled(name: str, text: str, label: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"speechportal_{name}", text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def text() -> bytes:
    """All metrics in Prometheus' text format."""
    global _kept
    with _lock:
        if _kept is None or time.monotonic() - _kept[0] > KEPT_SECONDS:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_All())
            _kept = (time.monotonic(), generate_latest(registry))
        return _kept[1]


def forget() -> None:
    """Clear the cache, for tests."""
    global _kept
    _kept = None


class _All:
    def collect(self) -> Iterable[Metric]:
        broken = 0
        for each in _collectors:
            try:
                yield from list(each())
            except Exception:
                # When the database or the queue's broker is down, the other metrics are needed most.
                logger.exception("metrics: %s failed", each.__name__)
                broken += 1
        yield gauge("metrics_failed", "Collectors that failed in this scrape.", broken)

    def describe(self) -> Iterable[Metric]:
        return []


@collector
def messages() -> Iterable[Metric]:
    clusters: tuple[queue.ClusterName, ...] = ("short", "recognition", "deliveries")
    waiting: dict[str, float] = {name: float(queue.queued_messages(name)) for name in clusters}
    yield labelled("queue_messages", "Messages that no worker has fetched yet.", "cluster", waiting)
    last = NamedLease._default_manager.filter(name="scheduler").values_list("last_run_at", flat=True).first()
    since = time.time() - last.timestamp() if last else -1
    yield gauge("scheduler_age_seconds", "Since the scheduler last ran; -1: never. Act above 180.", since)
