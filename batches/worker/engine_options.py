"""Engine options: conversion of recognition settings to the engine's ``Options``."""

from __future__ import annotations

from collections.abc import Sequence

from batches.models.recognition_settings import RecognitionSettings
from batches.recognition.media.decoding import MAX_BYTES, MAX_DURATION_MS
from batches.recognition.options import Options
from domains.offered_models import DEFAULT


def engine_options(
    recognition: RecognitionSettings,
    *,
    keywords: Sequence[str] = (),
    max_duration_ms: int = MAX_DURATION_MS,
    max_bytes: int = MAX_BYTES,
) -> Options:
    """Engine options for one file. Raises ``ValueError`` for settings that the engine does not accept."""
    return Options(
        language=recognition.language,
        keywords=tuple(keywords),
        speakers=recognition.speakers,
        channels=recognition.channels_as_speakers,
        all_tracks=not recognition.default_track_only,
        min_speakers=-1 if recognition.min_speakers is None else recognition.min_speakers,
        max_speakers=-1 if recognition.max_speakers is None else recognition.max_speakers,
        whisper_model=_chosen(recognition.whisper_model),
        speaker_model=_chosen(recognition.speaker_model),
        max_duration_ms=max_duration_ms,
        max_bytes=max_bytes,
    )


def _chosen(name: str) -> str:
    return "" if name == DEFAULT else name
