"""Models that the operator offers (``SPEECHPORTAL_WHISPER_MODELS``, ``SPEECHPORTAL_SPEAKER_MODELS``).

A domain names a pair of them, or ``DEFAULT`` for the first of each list; a batch may name others. A name
that is no longer offered stays in its domain or batch, whose tasks wait until another model is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

DEFAULT = "default"  # in a domain: the first offered model; in a batch: its domain's
NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Whisper model and speaker model of a task, by their names in the operator's settings."""

    whisper: str
    speakers: str


def whisper_models() -> list[str]:
    """Names of the offered Whisper models; the first is the default."""
    return list(settings.WHISPER_MODELS)


def speaker_models() -> list[str]:
    """Names of the offered speaker models; the first is the default."""
    return list(settings.SPEAKER_MODELS)


def title(name: str) -> str:
    """Name of a model for people: the last part of a path."""
    path = Path(name)
    return path.stem if path.is_absolute() or path.suffix == ".pt" else name


def _choices(names: list[str], default: _StrOrPromise) -> list[tuple[str, _StrOrPromise]]:
    return [(DEFAULT, default), *((name, title(name)) for name in names)]


def domain_whisper_choices() -> list[tuple[str, _StrOrPromise]]:
    return _choices(whisper_models(), _("The portal’s default"))


def domain_speaker_choices() -> list[tuple[str, _StrOrPromise]]:
    return _choices(speaker_models(), _("The portal’s default"))


def batch_whisper_choices() -> list[tuple[str, _StrOrPromise]]:
    return _choices(whisper_models(), _("The domain’s model"))


def batch_speaker_choices() -> list[tuple[str, _StrOrPromise]]:
    return _choices(speaker_models(), _("The domain’s model"))


def resolve(whisper: list[str], speakers: list[str]) -> ModelPair:
    """Resolve the pair from settings in order of precedence, the most specific first."""
    return ModelPair(
        next((name for name in whisper if name not in ("", DEFAULT)), whisper_models()[0]),
        next((name for name in speakers if name not in ("", DEFAULT)), speaker_models()[0]),
    )
