"""Page of an execution result: in the reader's language and time zone, unlike its CSV file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.urls import reverse

from batches.models import ExecutionResult
from tests.clients import Client
from tests.factories import make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db


def test_a_korean_reader_sees_korean_headings_and_the_time_in_seoul() -> None:
    alice = make_user(language="ko", time_zone="Asia/Seoul")
    batch = make_batch(make_account(owner=alice))
    result = ExecutionResult.unscoped.create(
        account=batch.account, batch=batch, number=1, task_count=1, key="out/1.csv"
    )
    started = datetime(2026, 11, 27, 20, 30, tzinfo=UTC)
    ended: dict[str, Any] = {"execution_result": result, "started_at": started, "finished_at": started}
    make_task(batch, state="completed", **ended)
    english = "This is not an audio or video file."
    make_task(batch, "a.txt", state="failed", error_code="not_media", error_message=english, **ended)
    client = Client()
    client.force_login(alice)
    page = client.get(reverse("batches:result", args=[batch.uid, result.uid]), follow=True).content.decode()
    table = page.split("<table>")[1].split("</table>")[0]
    for heading in ("결과 파일 이름", "신뢰도", "완료"):
        assert heading in table
    for text in ("task order", "start time", "Completed", english):
        assert text not in table
    assert "오디오 또는 동영상 파일이 아닙니다" in table
    assert "2026-11-28 05:30</time>" in table
    csv = client.get(
        reverse("batches:result_download", args=[batch.uid, result.uid]), follow=True
    ).content.decode("utf-8-sig")
    assert csv.startswith("task order,")
    assert "2026-11-27T20:30:00+00:00" in csv
    assert english in csv
