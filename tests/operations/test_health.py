"""Probes and Prometheus: what they are told, and who is told what."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import Settings
from redis import Redis

from batches.models import Batch, ConnectionBackoff, Delivery, Task
from batches.webhooks import endpoint
from speechportal.platform import health, metrics
from tests import factories
from tests.clients import Client
from tests.operations.readiness import ready

pytestmark = pytest.mark.django_db
LOOPBACK, ELSEWHERE = "127.0.0.1", "198.51.100.7"


@pytest.fixture(autouse=True)
def read_anew() -> None:
    metrics.forget()


def figures(client: Client) -> dict[tuple[str, str], float]:
    """(name without the prefix, label's value) -> figure"""
    metrics.forget()
    text = client.get("/metrics", REMOTE_ADDR=LOOPBACK).content.decode()
    return {
        (sample.name.removeprefix("speechportal_"), next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_alive_needs_nothing(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["portal.example"], True
    with CaptureQueriesContext(connection) as queries:
        response = client.get("/healthz", headers={"host": "10.0.0.7:8000"})
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert len(queries) == 0
    assert "Set-Cookie" not in response.headers


def test_ready_means_that_the_database_is_there_and_migrated(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ready(client) == {"ready": True, "problem": ""}

    class Broken:
        def cursor(self) -> None:
            raise DatabaseError("password=canary")

    monkeypatch.setattr(health, "connection", Broken())
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"ready": False, "problem": "database"}


def test_metrics_are_for_this_machine_or_whoever_has_the_token(client: Client, settings: Settings) -> None:
    assert client.get("/metrics", REMOTE_ADDR=LOOPBACK).status_code == 200
    assert client.get("/metrics", REMOTE_ADDR=ELSEWHERE).status_code == 404
    assert (
        client.get("/metrics", REMOTE_ADDR=LOOPBACK, headers={"x-forwarded-for": ELSEWHERE}).status_code
        == 404
    )
    settings.METRICS_TOKEN = "a long token"
    assert client.get("/metrics", REMOTE_ADDR=LOOPBACK).status_code == 404
    for given, status in (("a long token", 200), ("another", 404), ("", 404)):
        headers = {"authorization": f"Bearer {given}"}
        assert client.get("/metrics", REMOTE_ADDR=ELSEWHERE, headers=headers).status_code == status


def test_what_waits_and_for_how_long(client: Client) -> None:
    batch = factories.make_batch()
    task = factories.make_task(batch)
    Task.unscoped.filter(pk=task.pk).update(created_at=timezone.now() - timedelta(hours=1))
    factories.make_task(batch)
    factories.make_task(batch, state="failed")
    found = figures(client)
    assert (found["tasks", "waiting"], found["tasks", "failed"], found["tasks", "completed"]) == (2, 1, 0)
    assert 3600 <= found["oldest_waiting_seconds", ""] < 3700
    assert found["failed_tasks_last_hour", "not_media"] == 1
    assert found["metrics_failed", ""] == 0
    assert ("queue_messages", "recognition") in found


def test_waiting_minutes_are_estimated_from_sizes(client: Client) -> None:
    assert figures(client)["waiting_media_minutes", ""] == 0
    batch = factories.make_batch()
    factories.make_task(batch, input_size=16_000 * 600)
    assert figures(client)["waiting_media_minutes", ""] == 10, "by the usual bit rate"
    factories.make_task(batch, state="completed", input_size=1_000_000, media_duration=1_000_000)
    assert figures(client)["waiting_media_minutes", ""] == 160, "by what was recognised before"
    Batch.unscoped.filter(pk=batch.pk).update(paused_at=timezone.now())
    assert figures(client)["waiting_media_minutes", ""] == 0, "paused batches need no worker"


def test_a_cluster_that_lives_and_does_nothing_shows(client: Client) -> None:
    batch = factories.make_batch()
    assert figures(client)["cluster_stalled", "recognition"] == 0
    long_ago = timezone.now() - timedelta(hours=1)
    factories.make_task(batch, available_at=long_ago, created_at=long_ago)
    Batch.unscoped.filter(pk=batch.pk).update(next_poll_at=long_ago)
    found = figures(client)
    assert found["cluster_stalled", "short"] == 1
    assert found["cluster_stalled", "recognition"] == 1
    assert found["cluster_stalled", "deliveries"] == 0
    assert found["work_age_seconds", "poll"] > 3500


def test_speed_is_media_over_work(client: Client) -> None:
    now = timezone.now()
    batch = factories.make_batch()
    for duration in (20_000, 40_000):
        factories.make_task(
            batch,
            state="completed",
            media_duration=duration,
            started_at=now - timedelta(seconds=10),
            finished_at=now,
        )
    assert figures(client)["recognition_speed", ""] == pytest.approx(3.0)


def test_delivery_lag_counts_only_receivers_that_are_sent_to(client: Client) -> None:
    batch = factories.make_batch(webhook_url="https://receiver.example/hook")
    endpoint.address_changed(batch)
    Delivery.unscoped.create(
        account=batch.account,
        batch=batch,
        event="webhook.test",
        about=batch.uid,
        payload="{}",
        next_attempt_at=timezone.now() - timedelta(minutes=5),
    )
    found = figures(client)
    assert found["deliveries_due", ""] == 1
    assert 300 <= found["delivery_lag_seconds", ""] < 400
    batch.webhook.state, batch.webhook.stopped_at = "paused", timezone.now()
    batch.webhook.save()
    assert figures(client)["deliveries_due", ""] == 0


def test_storages_and_batches_in_error_are_counted_by_cause(client: Client) -> None:
    batch = factories.make_batch()
    assert batch.connection is not None
    ConnectionBackoff.unscoped.create(connection=batch.connection, code="timeout", retry_at=timezone.now())
    Batch.unscoped.filter(pk=batch.pk).update(status="error", cause_code="no_bucket", cause="There is none.")
    found = figures(client)
    assert found["storage_errors", "timeout"] == 1
    assert found["batches_in_error", "no_bucket"] == 1


def test_what_cannot_be_read_keeps_nothing_else_from_being_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.make_task(factories.make_batch())

    def ask(_cluster: str) -> int:
        return int(Redis(port=1).llen("queue"))  # Nothing listens there.

    monkeypatch.setattr("speechportal.platform.queue.queued_messages", ask)
    found = figures(client)
    assert found["tasks", "waiting"] == 1
    assert found["metrics_failed", ""] == 1
    assert ("queue_messages", "short") not in found


def test_many_scrapes_cost_no_more_than_one(client: Client) -> None:
    client.get("/metrics", REMOTE_ADDR=LOOPBACK)
    with CaptureQueriesContext(connection) as queries:
        client.get("/metrics", REMOTE_ADDR=LOOPBACK)
    assert len(queries) == 0
