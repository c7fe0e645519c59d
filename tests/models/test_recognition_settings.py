"""The recognition settings of a batch: stored as JSON, checked, and shown everywhere from one table."""

from __future__ import annotations

import json

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from batches.api.serializers import BatchInput, BatchOutput
from batches.models import Batch, Task
from batches.models.recognition_settings import SETTINGS, Choice, Number, RecognitionSettings, Setting
from batches.models.task_settings import TaskOverrides, TaskSettings
from batches.services import batches as batch_services
from batches.web.forms import BatchForm
from speechportal.accounts.models import Account, AuditEntry
from tests.clients import Client
from tests.factories import make_account, make_batch, make_task, make_user


def values_of(setting: Setting) -> st.SearchStrategy[bool | int | str | None]:
    if isinstance(setting, Choice):
        return st.sampled_from([code for code, _label in setting.choices()])
    if isinstance(setting, Number):
        return st.none() | st.integers(setting.minimum, setting.maximum)
    return st.booleans()


any_settings = st.fixed_dictionaries({name: values_of(setting) for name, setting in SETTINGS.items()}).map(
    lambda values: RecognitionSettings().with_changes(values)
)


@given(any_settings)
def test_json_gives_back_what_was_stored(chosen: RecognitionSettings) -> None:
    assert RecognitionSettings.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


@given(any_settings, st.lists(st.text()), st.text())
def test_json_gives_back_a_tasks_settings(
    chosen: RecognitionSettings, keywords: list[str], folder: str
) -> None:
    settings = TaskSettings(recognition=chosen, keywords=tuple(keywords), formats=("json",), folder=folder)
    assert TaskSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    overrides = TaskOverrides(recognition=chosen.to_json(), keywords=tuple(keywords))
    again = TaskOverrides.from_json(json.loads(json.dumps(overrides.to_json())))
    assert again == overrides
    assert again.applied_to(TaskSettings(formats=("srt",))) == TaskSettings(
        recognition=chosen, keywords=tuple(keywords), formats=("srt",)
    )


def test_settings_of_another_release_are_read() -> None:
    assert RecognitionSettings.from_json({}) == RecognitionSettings()
    chosen = RecognitionSettings.from_json({"language": "ja", "a_newer_setting": 7})
    assert chosen == RecognitionSettings(language="ja")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("language", "klingon", "invalid_choice"),
        ("speakers", "yes", "invalid"),
        ("min_speakers", 0, "min_value"),
        ("max_speakers", 31, "max_value"),
        ("max_speakers", True, "invalid"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str | int, code: str) -> None:
    errors = RecognitionSettings().with_changes({name: value}).errors()
    assert {field: [each.code for each in found] for field, found in errors.items()} == {name: [code]}


def test_numbers_out_of_order_are_refused_at_the_upper_one() -> None:
    errors = RecognitionSettings(min_speakers=3, max_speakers=2).errors()
    assert [each.code for each in errors["max_speakers"]] == ["below_min_speakers"]
    assert RecognitionSettings(min_speakers=2, max_speakers=2).errors() == {}


def test_a_transcript_is_stale_only_after_changes_that_it_depends_on() -> None:
    before = TaskSettings(recognition=RecognitionSettings(), keywords=("one",), formats=("json",))
    after = TaskSettings(recognition=RecognitionSettings(keyword_boosting=False), keywords=("one",))
    assert not after.makes_other_transcripts(before)
    assert TaskSettings(keywords=("two",)).makes_other_transcripts(before)
    other = TaskSettings(recognition=RecognitionSettings(language="ja"), keywords=("one",))
    assert other.makes_other_transcripts(before)


@pytest.mark.django_db
def test_every_setting_is_in_the_form_and_in_the_api() -> None:
    form = BatchForm(account=make_account())
    shown = [field.name for field in (*form.basic_settings(), *form.advanced_settings())]
    assert sorted(shown) == sorted(SETTINGS)
    for fields in (BatchInput().fields, BatchOutput().fields):
        assert set(SETTINGS) <= set(fields)


@pytest.mark.django_db
def test_form_and_service_refuse_with_the_same_sentence() -> None:
    alice = make_user()
    batch = make_batch(make_account(owner=alice))
    with pytest.raises(ValidationError) as refused:
        batch_services.update_batch(batch=batch, recognition={"min_speakers": 5, "max_speakers": 2})
    [sentence] = refused.value.message_dict["max_speakers"]
    client = Client()
    client.force_login(alice)
    address = reverse("batches:settings", args=[batch.uid])
    initial = client.get(address).context["form"].initial
    given_values = {
        name: value for name, value in initial.items() if value is not None and value is not False
    }
    answer = client.post(address, {**given_values, "min_speakers": "5", "max_speakers": "2"})
    assert answer.context["form"].errors == {"max_speakers": [sentence]}
    assert Batch.unscoped.get().recognition == batch.recognition


@pytest.mark.django_db
def test_a_change_of_one_setting_leaves_what_was_changed_meanwhile() -> None:
    batch = make_batch()
    stale = Batch.unscoped.get(pk=batch.pk)
    batch_services.update_batch(batch=batch, recognition={"language": "ja"})
    saved = batch_services.update_batch(batch=stale, recognition={"speakers": True})
    assert saved.recognition == RecognitionSettings(language="ja", speakers=True)


@pytest.mark.django_db
def test_the_audit_trail_names_each_setting_that_changed(account: Account) -> None:
    batch = make_batch(account)
    batch_services.update_batch(batch=batch, recognition={"language": "ja", "max_speakers": 4})
    entry = AuditEntry.unscoped.get(action="batch.changed")
    assert entry.changes == {"language": ["en-US", "ja"], "max_speakers": [None, 4]}
    assert entry.change_list == [("language", "English", "Japanese"), ("speakers at most", None, "4")]


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.mark.django_db
def test_a_key_of_the_column_can_be_looked_up(account: Account) -> None:
    batch = make_batch(account, language="ja")
    make_batch(account, language="ko-KR")
    assert Batch.unscoped.get(recognition__language="ja") == batch
    assert list(Batch.unscoped.filter(pk=batch.pk).values_list("recognition__language", flat=True)) == ["ja"]
    task = make_task(batch, state=Task.State.COMPLETED)
    assert Task.unscoped.values_list("settings", flat=True).get(pk=task.pk) == batch.task_settings()


def test_numbers_as_digits_reach_the_rules_of_a_task() -> None:
    assert not TaskSettings().rules
    chosen = TaskSettings(recognition=RecognitionSettings(numbers="digits"))
    assert chosen.rules.digits
    assert chosen.makes_other_transcripts(TaskSettings())
