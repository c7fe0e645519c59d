"""Request parameters of OpenAI's transcription API, parsed into a task's settings.

Source: the public reference of OpenAI's ``POST /v1/audio/transcriptions`` and what its SDKs send. Parameters
without an effect here are ignored and listed in a response header, since many programs send them by default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from batches.models import Batch, languages
from batches.models.recognition_settings import SettingValue
from batches.models.task_settings import TaskOverrides
from domains import offered_models
from domains.keywords import check_keywords
from domains.models import KEYWORD_LENGTH
from speechportal.api.problems import Problem

JSON, TEXT, SRT, VTT = "json", "text", "srt", "vtt"
VERBOSE, DIARIZED = "verbose_json", "diarized_json"
RESPONSE_FORMATS = (JSON, TEXT, SRT, VTT, VERBOSE, DIARIZED)
GRANULARITIES = ("segment", "word")
# OpenAI's model names stand for the model that the batch uses. The last one also turns on diarization.
DIARIZING = "gpt-4o-transcribe-diarize"
ALIASES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", DIARIZING)

# Accepted and ignored.
INEFFECTIVE = (
    "temperature",
    "chunking_strategy",
    "include",
    "known_speaker_names",
    "known_speaker_references",
)
KNOWN = {"file", "model", "language", "prompt", "response_format", "timestamp_granularities", "stream"}
_TRUE, _FALSE = {"true", "1"}, {"false", "0", ""}


@dataclass(frozen=True, kw_only=True)
class Transcription:
    """Parsed parameters of a transcription request."""

    response_format: str = JSON
    granularities: tuple[str, ...] = ("segment",)
    stream: bool = False
    overrides: TaskOverrides = field(default_factory=TaskOverrides)
    ignored: tuple[str, ...] = ()

    @property
    def answer(self) -> dict[str, object]:
        """Format of the response, stored with the task as JSON."""
        return {
            "response_format": self.response_format,
            "granularities": list(self.granularities),
            "stream": self.stream,
        }


class Refused(Problem):
    """Error of one parameter, which OpenAI's format names as ``param``."""

    def __init__(self, param: str, code: str, message: str, status: int = 400) -> None:
        super().__init__(status, code, message)
        self.param = param


def read(given: Mapping[str, Sequence[str]], batch: Batch) -> Transcription:
    """Parse and validate the form fields ``given`` (names without ``[]``). Raises :class:`Refused`."""
    reader = _Reader(given)
    response_format = reader.one_of("response_format", RESPONSE_FORMATS, JSON)
    recognition: dict[str, SettingValue] = {**reader.model(), **reader.language()}
    if response_format == DIARIZED:
        recognition["speakers"] = True
    keywords = reader.keywords(batch)
    overrides = TaskOverrides(recognition=recognition, keywords=keywords, formats=())
    return Transcription(
        response_format=response_format,
        granularities=reader.granularities(response_format),
        stream=reader.flag("stream"),
        overrides=overrides,
        ignored=reader.ignored(),
    )


class _Reader:
    def __init__(self, given: Mapping[str, Sequence[str]]) -> None:
        self.given = given
        self._ineffective = [name for name in given if name in INEFFECTIVE or name not in KNOWN]

    def text(self, name: str) -> str:
        values = self.given.get(name) or [""]
        return values[-1].strip()

    def ignored(self) -> tuple[str, ...]:
        return tuple(sorted(set(self._ineffective)))

    def one_of(self, name: str, choices: Sequence[str], default: str) -> str:
        value = self.text(name) or default
        if value not in choices:
            sentence = _("“%(value)s” is not one of: %(choices)s.")
            message = sentence % {"value": value, "choices": ", ".join(choices)}
            raise Refused(name, "invalid_value", message)
        return value

    def flag(self, name: str) -> bool:
        value = self.text(name).lower()
        if value not in _TRUE | _FALSE:
            raise Refused(name, "invalid_value", _("This must be true or false."))
        return value in _TRUE

    def model(self) -> dict[str, SettingValue]:
        name = self.text("model")
        if not name:
            raise Refused("model", "missing_required_parameter", _("This field is required."))
        if name in ALIASES:
            return {"speakers": True} if name == DIARIZING else {}
        if name not in offered_models.whisper_models():
            message = _("The model “%s” is not offered here. GET /v1/models lists those that are.") % name
            raise Refused("model", "model_not_found", message, status=404)
        return {"whisper_model": name}

    def language(self) -> dict[str, SettingValue]:
        code = self.text("language")
        if not code:
            return {}
        found = languages.find(code)
        if found is None:
            raise Refused("language", "invalid_language", _("The language “%s” is not known here.") % code)
        return {"language": found}

    def granularities(self, response_format: str) -> tuple[str, ...]:
        wanted = [value for value in self.given.get("timestamp_granularities", []) if value]
        if unknown := [value for value in wanted if value not in GRANULARITIES]:
            message = _("Unknown granularity: %s.") % ", ".join(unknown)
            raise Refused("timestamp_granularities", "invalid_value", message)
        if wanted and response_format != VERBOSE:
            message = _("Times of words and segments are in the response format verbose_json.")
            raise Refused("timestamp_granularities", "invalid_value", message)
        return tuple(dict.fromkeys(wanted)) or ("segment",)

    def keywords(self, batch: Batch) -> tuple[str, ...] | None:
        """Keywords from a prompt that is a list of words, together with the domain's.

        A prompt in prose is ignored, since recognition here takes keywords only. ``None``: no change.
        """
        prompt = self.text("prompt")
        if not prompt:
            return None
        parts = [part.strip() for line in prompt.splitlines() for part in line.split(",")]
        if any(len(part) > KEYWORD_LENGTH or len(part.split()) > 5 for part in parts):
            self._ineffective.append("prompt")
            return None
        if batch.recognition.keyword_boosting and batch.domain is not None:
            parts += batch.domain.keywords.values_list("text", flat=True)
        try:
            return tuple(check_keywords(parts))
        except ValidationError:
            self._ineffective.append("prompt")
            return None
