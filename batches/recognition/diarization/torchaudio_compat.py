"""Compatibility shim: makes torchaudio importable without CUDA, and disables pyannote.audio's telemetry.

torchaudio's compiled extension on PyPI is built for CUDA and does not load beside a CPU build of torch,
which stops ``import pyannote.audio``. pyannote uses only torchaudio's Python functions, so an empty
stand-in for ``torchaudio._extension`` is enough. Import this module before anything of pyannote:

    import batches.recognition.diarization.torchaudio_compat  # noqa: F401 - must come before pyannote
"""

from __future__ import annotations

import os
import sys
import types
import warnings


def _no_alignment(*_args: object, **_kwargs: object) -> None:
    raise RuntimeError("torchaudio's compiled alignment is not available here")


def _install_stand_in() -> None:
    name = "torchaudio._extension"
    if "torchaudio" in sys.modules or name in sys.modules:
        return
    module = types.ModuleType(name)
    module.__dict__.update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        # A decorator in torchaudio: the functions that need the extension fail when called, not before.
        fail_if_no_align=lambda _function: _no_alignment,
    )
    sys.modules[name] = module


def _track_nothing(*_args: object, **_kwargs: object) -> None:
    """No-op that replaces each function of pyannote's telemetry."""


def _silence_telemetry() -> None:
    """Disable pyannote's telemetry, which reports the use of its models.

    Even with metrics off, its telemetry starts a thread, and again in every forked child process, where a
    second thread prevents :func:`sandbox.leave_network` from entering a namespace. So the module is replaced.
    """
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    module = types.ModuleType("pyannote.audio.telemetry")
    for name in ("track_model_init", "track_pipeline_init", "track_pipeline_apply"):
        setattr(module, name, _track_nothing)
    sys.modules.setdefault(module.__name__, module)


# pyannote would decode files with torchcodec, which does not load here; it is given waveforms instead.
warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed correctly")
_install_stand_in()
_silence_telemetry()
