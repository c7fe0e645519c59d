"""OpenTelemetry traces, with the optional extra ``otel`` and the setting ``OTLP_ENDPOINT``.

Each task has one trace, from its registration to its webhook, across processes and hosts; the task stores
the context as a W3C ``traceparent``. Without the setting OpenTelemetry is not imported, and the functions
here do nothing. Spans that cannot be exported are dropped, so that no task waits for a collector. Standard
variables such as ``OTEL_EXPORTER_OTLP_HEADERS`` and ``OTEL_TRACES_SAMPLER`` are read by OpenTelemetry itself.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.conf import settings

from speechportal import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

logger = logging.getLogger(__name__)
SERVICE = "speechportal"
_NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
Attributes = dict[str, str | int | float | bool]


def problem() -> str:
    """Problem of the tracing settings, for the system check and ``doctor``; empty if there is none."""
    if not settings.OTLP_ENDPOINT:
        return ""
    if not settings.OTLP_ENDPOINT.startswith(("http://", "https://")):
        return "SPEECHPORTAL_OTLP_ENDPOINT is no address of HTTP."
    return "" if _installed() else "SPEECHPORTAL_OTLP_ENDPOINT is set, and OpenTelemetry is not installed."


def enabled() -> bool:
    return bool(settings.OTLP_ENDPOINT) and _installed()


@cache
def _installed() -> bool:
    try:
        return all(find_spec(name) is not None for name in _NEEDED)
    except ModuleNotFoundError:
        return False


class Exporter:
    """This process's tracer. It is created at the first span, so that forked processes have their own."""

    def __init__(self) -> None:
        self._provider: TracerProvider | None = None
        self._pid = 0

    def use(self, provider: TracerProvider | None) -> None:
        """Replace the provider, for instance in tests; ``None`` restores that of the settings."""
        if provider is not None:
            _start_no_threads_in_forks()
        self._provider, self._pid = provider, os.getpid() if provider else 0

    @property
    def tracer(self) -> Tracer:
        if self._provider is None or self._pid != os.getpid():
            self._provider, self._pid = _provider(), os.getpid()
        return self._provider.get_tracer(SERVICE, __version__)

    def flush(self) -> None:
        if self._provider is not None and self._pid == os.getpid():
            self._provider.force_flush(5000)


exporter = Exporter()


def _provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _start_no_threads_in_forks()
    names = {"service.name": SERVICE, "service.version": __version__, "host.name": os.uname().nodename}
    provider = TracerProvider(resource=Resource.create(names))
    endpoint = f"{settings.OTLP_ENDPOINT.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=10)))
    return provider


@cache
def _start_no_threads_in_forks() -> None:
    """Keep OpenTelemetry from starting threads in each forked child process, ffmpeg's included.

    A second thread there prevents :func:`~batches.recognition.runtime.sandbox.leave_network` from entering a
    namespace. A forked process that records spans creates its own provider; see :class:`Exporter`.
    """
    from opentelemetry.sdk import _shared_internal, trace

    # OpenTelemetry has no public switch. It calls these two methods in each child: one restarts the thread
    # that exports spans, the other looks up the process's attributes in a pool of threads.
    for owner, method in (
        (_shared_internal.BatchProcessor, "_at_fork_reinit"),
        (trace.TracerProvider, "_handle_fork"),
    ):
        setattr(owner, method, _nothing)


def _nothing(_self: object) -> None:
    """Replaces what OpenTelemetry does in a forked child."""


@contextmanager
def span(name: str, parent: str = "", **attributes: str | float | bool) -> Iterator[None]:
    """Context manager: a span below ``parent``, or below the current span; records an exception."""
    if not enabled():
        yield
        return
    with exporter.tracer.start_as_current_span(name, context=_context(parent), attributes=_clean(attributes)):
        yield


def start_trace(name: str, **attributes: str | float | bool) -> str:
    """Record a span that starts a new trace; returns its ``traceparent``, or "" without tracing."""
    if not enabled():
        return ""
    from opentelemetry.context import Context

    tracer = exporter.tracer
    begun = tracer.start_span(name, context=Context(), attributes=_clean(attributes))
    begun.end()
    return _traceparent(begun)


def record(name: str, parent: str, started_at: float, **attributes: str | float | bool) -> None:
    """Record a span that has just ended; ``started_at`` is in seconds since 1970."""
    if not enabled() or not parent:
        return
    ended = exporter.tracer.start_span(
        name, context=_context(parent), attributes=_clean(attributes), start_time=int(started_at * 1e9)
    )
    ended.end(int(time.time() * 1e9))


def current() -> str:
    """``traceparent`` of the current span, to pass to another thread; "" if there is none."""
    if not enabled():
        return ""
    from opentelemetry.trace import get_current_span

    present = get_current_span()
    return _traceparent(present) if present.get_span_context().is_valid else ""


def _context(parent: str) -> Any:
    """Context of a ``traceparent``; ``None``, the current context, if it is empty or invalid."""
    if not parent:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _traceparent(one: Any) -> str:
    context = one.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _clean(attributes: dict[str, str | float | bool]) -> Attributes:
    return {f"speechportal.{name}": value for name, value in attributes.items() if value != ""}
