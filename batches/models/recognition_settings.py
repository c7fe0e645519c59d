"""`RecognitionSettings`: how the files of a batch are recognised, and the table that describes each setting.

The batch form, Django admin, the REST serializers, the CLOVA parameters, the options of ``manage.py
recognise``, the audit trail and the check for stale transcripts are all generated from this table. A new
setting is one line of :class:`RecognitionSettings`, and its implementation in the engine.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.translation import gettext_lazy as _

from batches.models import languages
from domains import offered_models

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

SPEAKER_LIMIT = 30
NUMBERS_AS_SPOKEN, NUMBERS_AS_DIGITS = "spoken", "digits"
FORBIDDEN_LENGTH = 5000  # characters of all forbidden words

SettingValue = bool | int | str | None
Choices = Sequence[tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Setting(ABC):
    """Description of one recognition setting.

    ``label`` and ``help_text`` are for people. An ``is_advanced`` setting is collapsed in forms. ``clova`` is
    its parameter in CLOVA Speech's API, with a dot before the key of an object; ``option`` its option of
    ``manage.py recognise``. ``changes_transcript`` is whether another value makes an existing transcript
    stale.
    """

    label: _StrOrPromise
    help_text: _StrOrPromise = ""
    is_advanced: bool = False
    clova: str = ""
    option: str = ""
    changes_transcript: bool = True

    @abstractmethod
    def errors(self, value: SettingValue) -> list[ValidationError]:
        """Validation errors of a value, in the current language; empty for a valid one."""

    def display(self, value: SettingValue) -> _StrOrPromise:
        """Format the value for people."""
        return "" if value is None else str(value)


@dataclass(frozen=True, kw_only=True)
class Flag(Setting):
    """Boolean setting."""

    def errors(self, value: SettingValue) -> list[ValidationError]:
        if isinstance(value, bool):
            return []
        return [ValidationError(_("This must be true or false."), code="invalid")]

    def display(self, value: SettingValue) -> _StrOrPromise:
        return _("On") if value else _("Off")


@dataclass(frozen=True, kw_only=True)
class Number(Setting):
    """Integer setting from ``minimum`` to ``maximum``; ``None`` leaves it to the engine."""

    minimum: int
    maximum: int

    def errors(self, value: SettingValue) -> list[ValidationError]:
        if value is None:
            return []
        if isinstance(value, bool) or not isinstance(value, int):
            return [ValidationError(_("This must be a whole number."), code="invalid")]
        found = []
        for validate in (MinValueValidator(self.minimum), MaxValueValidator(self.maximum)):
            try:
                validate(value)
            except ValidationError as error:
                found.append(error)
        return found


@dataclass(frozen=True, kw_only=True)
class Choice(Setting):
    """Setting with one of several codes. ``source`` returns Django choices, which may have groups."""

    source: Callable[[], Choices]

    def choices(self) -> list[tuple[str, _StrOrPromise]]:
        """Return the choices as (code, label) pairs, without groups."""
        flat: list[tuple[str, _StrOrPromise]] = []
        for code, label in self.source():
            flat.extend(label if isinstance(label, list | tuple) else [(code, label)])
        return flat

    def errors(self, value: SettingValue) -> list[ValidationError]:
        if any(value == code for code, _label in self.choices()):
            return []
        sentence = _("“%(value)s” is not one of the choices.")
        return [ValidationError(sentence, code="invalid_choice", params={"value": value})]

    def display(self, value: SettingValue) -> _StrOrPromise:
        return next((label for code, label in self.choices() if code == value), str(value))


@dataclass(frozen=True, kw_only=True)
class Words(Setting):
    """Words and phrases, separated by commas."""

    longest: int

    def errors(self, value: SettingValue) -> list[ValidationError]:
        if not isinstance(value, str):
            return [ValidationError(_("This must be a text."), code="invalid")]
        if len(value) > self.longest:
            sentence = _("This has at most %(limit)d characters.")
            return [ValidationError(sentence, code="too_long", params={"limit": self.longest})]
        if any(unicodedata.category(letter) == "Cc" and not letter.isspace() for letter in value):
            return [ValidationError(_("Control characters are not allowed."), code="invalid")]
        return []


@dataclass(frozen=True)
class Order:
    """Constraint between two number settings: the first must not be above the second."""

    lower: str
    upper: str
    code: str
    sentence: _StrOrPromise


ORDERS = [
    Order(
        "min_speakers",
        "max_speakers",
        "below_min_speakers",
        _("The least number of speakers is above the greatest."),
    )
]


def _numbers() -> Choices:
    return [(NUMBERS_AS_SPOKEN, _("As they are said")), (NUMBERS_AS_DIGITS, _("As digits"))]


def _setting(default: SettingValue, described: Setting) -> Any:
    return dataclasses.field(default=default, metadata={"setting": described})


@dataclass(frozen=True, kw_only=True)
class RecognitionSettings:
    """Recognition settings of a batch's files. Immutable: :meth:`with_changes` returns a copy.

    An instance may contain values that :meth:`errors` refuses, as a form does before its validation; stored
    ones are valid.
    """

    language: str = _setting(
        languages.DEFAULT,
        Choice(label=_("language"), source=lambda: languages.GROUPED, clova="language", option="language"),
    )
    speakers: bool = _setting(
        True,
        Flag(
            label=_("speaker separation"),
            help_text=_("Tell apart who speaks."),
            clova="diarization.enable",
            option="speakers",
        ),
    )
    keyword_boosting: bool = _setting(
        True,
        Flag(
            label=_("keyword boosting"),
            help_text=_("Prefer the keywords of the domain."),
            changes_transcript=False,  # Only a change of the keywords themselves makes it stale.
        ),
    )
    min_speakers: int | None = _setting(
        None,
        Number(
            label=_("speakers at least"),
            help_text=_("Leave both empty unless you know how many people speak in every file."),
            minimum=1,
            maximum=SPEAKER_LIMIT,
            is_advanced=True,
            clova="diarization.speakerCountMin",
            option="min-speakers",
        ),
    )
    max_speakers: int | None = _setting(
        None,
        Number(
            label=_("speakers at most"),
            minimum=1,
            maximum=SPEAKER_LIMIT,
            is_advanced=True,
            clova="diarization.speakerCountMax",
            option="max-speakers",
        ),
    )
    channels_as_speakers: bool = _setting(
        False,
        Flag(
            label=_("channels as speakers"),
            help_text=_("Each channel of a stereo recording is a speaker, as in recorded calls."),
            is_advanced=True,
            option="channels",
        ),
    )
    default_track_only: bool = _setting(
        False,
        Flag(
            label=_("default audio track only"),
            help_text=_("Otherwise each audio track of a video is a speaker, where several hold speech."),
            is_advanced=True,
            option="default-track",
        ),
    )

    word_confidence: bool = _setting(
        False,
        Flag(
            label=_("word confidence"),
            help_text=_("Results in JSON and TSV give the confidence of each word."),
            is_advanced=True,
            option="word-confidence",
            changes_transcript=False,
        ),
    )

    numbers: str = _setting(
        NUMBERS_AS_SPOKEN,
        Choice(
            label=_("numbers"),
            help_text=_(
                "Korean and English number words can be written as digits; JSON keeps the words too."
            ),
            source=_numbers,
            is_advanced=True,
            clova="numbers",
            option="numbers",
        ),
    )

    forbidden: str = _setting(
        "",
        Words(
            label=_("forbidden words"),
            help_text=_(
                "Words that no result shows, separated by commas. Those of the domain are forbidden as well."
            ),
            longest=FORBIDDEN_LENGTH,
            is_advanced=True,
            changes_transcript=False,
        ),
    )
    whisper_model: str = _setting(
        offered_models.DEFAULT,
        Choice(
            label=_("Whisper model"),
            help_text=_("Files that were recognised with another model stay as they are."),
            source=offered_models.batch_whisper_choices,
            is_advanced=True,
            changes_transcript=False,
        ),
    )
    speaker_model: str = _setting(
        offered_models.DEFAULT,
        Choice(
            label=_("speaker model"),
            source=offered_models.batch_speaker_choices,
            is_advanced=True,
            changes_transcript=False,
        ),
    )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Parse the output of :meth:`to_json` of this or another release.

        Unknown settings are ignored, and missing ones get their default.
        """
        return cls(**{name: document[name] for name in SETTINGS if name in document})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def with_changes(self, changes: Mapping[str, SettingValue]) -> Self:
        """Return a copy with some settings changed. Raises ``TypeError`` for an unknown setting."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type] # errors() checks each type

    def errors(self) -> dict[str, list[ValidationError]]:
        """Validation errors by the name of the setting; empty if all are valid."""
        found = {name: setting.errors(getattr(self, name)) for name, setting in SETTINGS.items()}
        for order in ORDERS:
            lower, upper = getattr(self, order.lower), getattr(self, order.upper)
            if isinstance(lower, int) and isinstance(upper, int) and lower > upper:
                found[order.upper].append(ValidationError(order.sentence, code=order.code))
        return {name: errors for name, errors in found.items() if errors}

    def differences(self, other: RecognitionSettings) -> list[str]:
        """Names of the settings that have another value in ``other``."""
        return [name for name in SETTINGS if getattr(self, name) != getattr(other, name)]

    def makes_other_transcripts(self, other: RecognitionSettings) -> bool:
        """Whether a transcript made with ``other`` settings is stale under these."""
        return any(SETTINGS[name].changes_transcript for name in self.differences(other))

    @staticmethod
    def described(name: str, value: Any) -> tuple[_StrOrPromise, _StrOrPromise] | None:
        """Label and formatted value of a setting, or ``None`` for a name that is no setting."""
        setting = SETTINGS.get(name)
        return (setting.label, setting.display(value)) if setting else None

    def summary(self) -> Iterable[tuple[_StrOrPromise, _StrOrPromise]]:
        """(label, formatted value) of each setting; advanced ones only if they differ from the default."""
        usual = type(self)()
        for name, setting in SETTINGS.items():
            value = getattr(self, name)
            if not setting.is_advanced or value != getattr(usual, name):
                yield setting.label, setting.display(value)


SETTINGS: dict[str, Setting] = {
    field.name: field.metadata["setting"] for field in dataclasses.fields(RecognitionSettings)
}
