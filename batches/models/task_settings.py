"""`TaskSettings`: the snapshot of a started task. `TaskOverrides`: the settings of a request for one file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from batches.formats import Context
from batches.models.recognition_settings import NUMBERS_AS_DIGITS, RecognitionSettings, SettingValue
from batches.postprocessing.transcript import Rules
from domains import offered_models
from domains.offered_models import ModelPair
from domains.redaction import RedactionSettings
from domains.replacements import Replacement


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """Snapshot of everything that determines a task's outcome, taken when it starts.

    Later edits of the batch and its domain do not change it.
    """

    recognition: RecognitionSettings = field(default_factory=RecognitionSettings)
    domain: str = ""  # code of the domain
    keywords: tuple[str, ...] = ()
    forbidden: str = ""  # forbidden words, comma-separated
    forbidden_action: str = "mask"  # or "remove"
    replacements: tuple[Replacement, ...] = ()
    redaction: RedactionSettings = field(default_factory=RedactionSettings)
    formats: tuple[str, ...] = ()
    result_path: str = ""
    folder: str = ""  # folder to which the input is moved

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        known = {each.name for each in dataclasses.fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        for name in ("keywords", "formats"):
            values[name] = tuple(values.get(name, ()))
        values["recognition"] = RecognitionSettings.from_json(document.get("recognition", {}))
        values["replacements"] = tuple(map(Replacement.from_json, document.get("replacements", ())))
        values["redaction"] = RedactionSettings.from_json(document.get("redaction", {}))
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def rules(self) -> Rules:
        """Post-processing of the transcript: numbers, replacements and redaction."""
        return Rules(
            redact=self.redaction.kinds,
            replace=self.replacements,
            digits=self.recognition.numbers == NUMBERS_AS_DIGITS,
        )

    @property
    def model_pair(self) -> ModelPair:
        """Models that the snapshot names."""
        return offered_models.resolve([self.recognition.whisper_model], [self.recognition.speaker_model])

    @property
    def names_speakers(self) -> bool:
        return self.recognition.speakers or self.recognition.channels_as_speakers

    def makes_other_transcripts(self, other: TaskSettings) -> bool:
        """Whether a transcript made with ``other`` settings is stale under these."""
        return self.keywords != other.keywords or self.recognition.makes_other_transcripts(other.recognition)

    def context(self, task_id: str, asked_forbidden: str = "") -> Context:
        """Context of a result file: everything it contains about its task besides the transcript.

        ``asked_forbidden``: the forbidden words of the request, which the result repeats.
        """
        return Context(
            task_id=task_id,
            domain=self.domain,
            language=self.recognition.language,
            diarization=self.names_speakers,
            min_speakers=self.recognition.min_speakers or -1,
            max_speakers=self.recognition.max_speakers or -1,
            keywords=self.keywords,
            forbidden=self.forbidden,
            forbidden_action=self.forbidden_action,
            asked_forbidden=asked_forbidden,
            word_confidence=self.recognition.word_confidence,
        )


def joined_words(*lists: str) -> str:
    """Join comma-separated lists of words, without duplicates."""
    words = [" ".join(word.split()) for each in lists for word in each.split(",")]
    return ", ".join(dict.fromkeys(word for word in words if word))


@dataclass(frozen=True, kw_only=True)
class TaskOverrides:
    """Settings of the request for one file, which override the batch's.

    ``recognition`` has only the settings that differ; ``None`` means the batch's keywords or formats.
    ``forbidden`` words are added to those of the domain and the batch.
    """

    recognition: Mapping[str, SettingValue] = field(default_factory=dict)
    keywords: tuple[str, ...] | None = None
    forbidden: str = ""
    formats: tuple[str, ...] | None = None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        keywords, formats = document.get("keywords"), document.get("formats")
        known = {each.name for each in dataclasses.fields(RecognitionSettings)}
        recognition = document.get("recognition", {})
        return cls(
            recognition={name: value for name, value in recognition.items() if name in known},
            keywords=None if keywords is None else tuple(keywords),
            forbidden=document.get("forbidden", ""),
            formats=None if formats is None else tuple(formats),
        )

    def model_columns(self) -> dict[str, str]:
        """Values of the task's model columns: the models that its request named, or empty."""
        names = ("whisper_model", "speaker_model")
        return {name: str(self.recognition.get(name) or "") for name in names}

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "recognition": dict(self.recognition)}

    def applied_to(self, usual: TaskSettings) -> TaskSettings:
        """Return the batch's settings with these overrides applied."""
        return dataclasses.replace(
            usual,
            recognition=usual.recognition.with_changes(self.recognition),
            keywords=usual.keywords if self.keywords is None else self.keywords,
            forbidden=joined_words(usual.forbidden, self.forbidden),
            formats=usual.formats if self.formats is None else self.formats,
        )
