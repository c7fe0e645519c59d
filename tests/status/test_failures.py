"""The catalogue of failure reasons: complete, translated, and the only place where failures are made."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import translation

import batches.recognition
from batches.models import Batch, Task
from batches.recognition.errors import EmptyFile, MediaTooLong, NotMedia, RecognitionError
from batches.status import failures
from batches.status.failures import CATALOGUE, Failure, FailureReason, Level
from speechportal.outbound.errors import OutboundError
from speechportal.storage.errors import AccessDenied, NotFound, StorageError
from tests.factories import make_batch, make_task

SAYS_ALL = {"not_found", "changed", "insecure_endpoint"}  # the sentence is advice enough
ROOT = Path(__file__).resolve().parents[2]
PRODUCT = [path for name in ("batches", "domains", "speechportal") for path in (ROOT / name).rglob("*.py")]


def below(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


def calls_of(*names: str) -> Iterator[tuple[Path, ast.Call]]:
    """Calls of functions or classes with these names, anywhere in the product."""
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                called = node.func.id if isinstance(node.func, ast.Name) else called
                if called in names:
                    yield path, node


def test_every_code_that_can_be_raised_is_in_the_catalogue() -> None:
    # Errors of recognition are defined in one module, wherever they are raised.
    defined = ast.parse((Path(str(batches.recognition.__file__)).parent / "errors.py").read_text())
    classes = [node.name for node in defined.body if isinstance(node, ast.ClassDef)]
    kinds = [*below(RecognitionError), *below(StorageError), *below(OutboundError)]
    assert set(classes) <= {kind.__name__ for kind in kinds}
    codes = {str(kind.code) for kind in kinds}  # type: ignore[attr-defined] # of all trees
    assert len(codes) > 30
    assert codes - set(CATALOGUE) == set()


def test_every_failure_that_the_portal_names_is_in_the_catalogue() -> None:
    named = {
        value.value
        for _path, call in calls_of("failure")
        for value in call.args[:1]
        if isinstance(value, ast.Constant)
    }
    assert {"worker_died", "input_missing", "input_replaced", "database_fault", "internal_error"} <= named
    assert named - set(CATALOGUE) == set()


def test_failures_are_made_from_the_catalogue_alone() -> None:
    makers = {str(path.relative_to(ROOT)) for path, _call in calls_of("Failure", "FailureReason")}
    assert makers == {"batches/status/failures.py"}


@pytest.mark.parametrize("reason", CATALOGUE.values(), ids=lambda reason: reason.code)
def test_each_has_a_sentence_and_advice_in_both_languages(reason: FailureReason) -> None:
    details = {
        "key": "in/calls/a.mp3",
        "duration_ms": 7_200_000,
        "limit_ms": 3_600_000,
        "bytes": 3_000_000,
        "limit_bytes": 2_000_000,
        "attempts": 3,
        "host": "calls.example",
        "port": 8080,
        "reason": "refused",
        "status": 302,
        "limit": 1000,
        "budget": "10.00",
        "currency": "USD",
        "model": "large-v3-turbo",
        "remedy": "",
        "name": "large-v3-turbo",
        "need_bytes": 3_900_000_000,
        "free_bytes": 2_100_000_000,
    }
    said = {}
    for language in ("en", "ko"):
        with translation.override(language):
            said[language] = f"{reason.describe(details)} {reason.advice}"
    assert said["en"] != said["ko"]
    assert "%(" not in said["en"] + said["ko"]
    assert reason.advice or reason.code in SAYS_ALL


def test_a_failure_is_shown_in_the_readers_language_and_kept_in_english() -> None:
    with translation.override("ko"):
        kept = failures.failure("worker_died", attempts=3)
        assert kept.message == "The worker that recognised this file ended unexpectedly (3 times)."
        assert kept.sentence != kept.message
        assert failures.failure_of(NotFound("a")).message == "The file does not exist any more."
    assert failures.failure_of(EmptyFile()) == Failure("empty_file", "The file is empty (0 bytes).", {})
    long = failures.failure_of(MediaTooLong(duration_ms=7_200_000, limit_ms=3_600_000))
    assert long.message == long.sentence == "The file is 120 minutes long; the limit is 60 minutes."


def test_what_is_more_exact_than_the_catalogue_is_kept() -> None:
    failure = failures.failure_of(NotMedia("This is not a file."))
    assert failure.message == "This is not a file."
    assert failure.sentence == "The file is not audio or video in a format that can be read."


def test_codes_and_details_of_another_release_show_the_stored_message() -> None:
    assert Failure("a_newer_code", "It is new.").sentence == "It is new."
    assert Failure("a_newer_code", "").sentence == "An unknown fault (a_newer_code)."
    assert Failure("media_too_long", "Too long.", {"minutes": 3}).sentence == "Too long."


def test_levels_say_how_far_a_failure_reaches() -> None:
    levels = {code: CATALOGUE[code].level for code in ("not_media", "not_found", "access_denied")}
    assert levels == {"not_media": Level.FILE, "not_found": Level.FILE, "access_denied": Level.BATCH}
    assert CATALOGUE["unreachable"].level is Level.CONNECTION
    assert CATALOGUE["model_unavailable"].level is Level.INSTALLATION
    assert CATALOGUE["access_denied"].is_permanent is AccessDenied.permanent is True


@pytest.mark.django_db
def test_rows_without_a_failure_have_none() -> None:
    batch = make_batch()
    assert failures.failure_of_batch(batch) is None
    assert failures.failure_of_task(make_task(batch)) is None
    failed = failures.failure_of_task(make_task(batch, state=Task.State.FAILED))
    assert failed is not None
    assert failed.advice
    batch.status, batch.cause_code, batch.cause = Batch.Status.ERROR, "bucket_missing", "No bucket."
    shown = failures.failure_of_batch(batch)
    assert shown is not None
    assert shown.sentence.startswith("There is no such bucket.")
