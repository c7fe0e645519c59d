"""OpenTelemetry traces of a task, from its registration to its webhook."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from django.core import checks
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_django.fixtures import Settings

from batches.models import Task, TaskTrace
from batches.operations import jobs
from batches.recognition.errors import NotMedia
from batches.webhooks.sender import Sender
from batches.worker import engines
from speechportal.platform import tracing
from tests.webhooks.makers import make_hooked_batch
from tests.webhooks.receiver import receiving
from tests.workbench import Engine, drop

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]


class DecodingEngine(Engine):
    """The stand-in, which says like the real client that it has decoded."""

    def transcribe(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
        engines._trace_decoding(0.0)
        return super().transcribe(*arguments, **named)  # type: ignore[arg-type]


@pytest.fixture
def spans(settings: Settings) -> Iterator[InMemorySpanExporter]:
    settings.OTLP_ENDPOINT, settings.SETTLE_SECONDS = "http://127.0.0.1:1", 0
    settings.OUTBOUND_NETWORKS, settings.OUTBOUND_HTTP = ["127.0.0.0/8"], True
    settings.OUTBOUND_PORTS = []
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracing.exporter.use(provider)
    yield memory
    tracing.exporter.use(None)


def recognise(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setattr(engines, "worker_client", lambda: engine)
    jobs.recognise_next()


def test_one_trace_goes_from_the_upload_to_the_webhook(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url, formats=["json"], speakers=True)
        task = drop(batch)
        recognise(monkeypatch, DecodingEngine())
        Sender(linger=timedelta(0)).run(30)
    assert len(receiver.received) == 1
    found: dict[str, ReadableSpan] = {span.name: span for span in spans.get_finished_spans()}
    assert set(found) == {
        "register",
        "claim",
        "process",
        "download",
        "decode",
        "recognise",
        "separate speakers",
        "write result",
        "finish",
        "move",
        "deliver",
    }
    assert len({span.context.trace_id for span in found.values()}) == 1
    root, process = found["register"], found["process"]
    assert TaskTrace.unscoped.get(task=task).trace_parent.split("-")[2] == f"{root.context.span_id:016x}"
    parents = {name: span.parent.span_id if span.parent else 0 for name, span in found.items()}
    assert parents["register"] == 0
    assert {parents[name] for name in ("claim", "process", "move", "deliver")} == {root.context.span_id}
    for name in ("download", "recognise", "write result", "finish"):
        assert parents[name] == process.context.span_id
    assert parents["decode"] == found["recognise"].context.span_id
    assert process.attributes is not None
    assert process.attributes["speechportal.task"] == task.uid
    deliver = found["deliver"].attributes
    assert deliver is not None
    assert deliver["speechportal.status"] == 204
    told = str([dict(span.attributes or {}) for span in found.values()])
    assert "a.mp3" not in told  # No file names leave the portal.


def test_a_failure_is_noted_on_the_span_where_it_happened(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise NotMedia

    drop(make_hooked_batch("http://127.0.0.1:1/"))
    engine = Engine()
    engine.during["transcribe"] = fail
    recognise(monkeypatch, engine)
    found = {span.name: span for span in spans.get_finished_spans()}
    assert [event.name for event in found["recognise"].events] == ["exception"]
    assert not found["recognise"].status.is_ok


class Collector(BaseHTTPRequestHandler):
    received: list[tuple[str, bytes]] = []

    def do_POST(self) -> None:
        self.received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


def test_spans_arrive_at_a_collector_by_otlp(settings: Settings) -> None:
    Collector.received.clear()
    server = HTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    settings.OTLP_ENDPOINT = f"http://127.0.0.1:{server.server_port}/"
    try:
        parent = tracing.start_trace("register", task="tsk_1")
        with tracing.span("process", parent):
            pass
        tracing.exporter.flush()
    finally:
        server.shutdown()
        server.server_close()
        tracing.exporter.use(None)
    assert {path for path, _body in Collector.received} == {"/v1/traces"}
    requests = [ExportTraceServiceRequest.FromString(body) for _path, body in Collector.received]
    (resource,) = {
        attribute.value.string_value
        for request in requests
        for each in request.resource_spans
        for attribute in each.resource.attributes
        if attribute.key == "service.name"
    }
    assert resource == "speechportal"
    sent = [
        span
        for request in requests
        for each in request.resource_spans
        for scope in each.scope_spans
        for span in scope.spans
    ]
    assert sorted(span.name for span in sent) == ["process", "register"]
    assert {span.trace_id.hex() for span in sent} == {parent.split("-")[1]}


def test_without_the_setting_nothing_is_imported_or_stored(settings: Settings) -> None:
    settings.SETTLE_SECONDS = 0
    drop(make_hooked_batch("http://127.0.0.1:1/"))
    assert Task.unscoped.count() == 1
    assert TaskTrace.unscoped.count() == 0
    program = (
        "import sys, django; django.setup()\n"
        "from batches.operations import jobs\n"
        "from speechportal.platform import tracing\n"
        "with tracing.span('process', '', task='tsk_1'): pass\n"
        "assert tracing.start_trace('register') == tracing.current() == ''\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "speechportal.settings"}
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_where_it_is_not_installed_a_check_says_so_and_tasks_go_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OTLP_ENDPOINT, settings.SETTLE_SECONDS = "http://collector:4318", 0
    monkeypatch.setattr(tracing, "_installed", lambda: False)
    found = [each for each in checks.run_checks() if each.id == "speechportal.E012"]
    assert "not installed" in found[0].msg
    assert "speechportal[otel]" in str(found[0].hint)
    assert drop(make_hooked_batch("http://127.0.0.1:1/")).state == "waiting"
    settings.OTLP_ENDPOINT = "collector:4318"
    assert "no address" in tracing.problem()


def test_a_forked_child_has_one_thread(settings: Settings) -> None:
    """With a second thread, ffmpeg's process could not leave the network."""
    settings.OTLP_ENDPOINT = "http://127.0.0.1:1"
    provider = tracing._provider()
    threads = [_threads_of_a_fork() for _ in range(20)]  # a thread that has just ended may still be there
    provider.shutdown()
    assert set(threads) == {1}


def _threads_of_a_fork() -> int:
    child = os.fork()
    if child == 0:
        os._exit(sum(1 for _ in Path("/proc/self/task").iterdir()))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
