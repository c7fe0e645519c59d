"""Make torchaudio importable on a machine without CUDA, and keep pyannote.audio silent.

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


# pyannote reports the use of its models to its makers unless told otherwise; ours says nothing to anyone.
os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
# pyannote would decode files with torchcodec, which does not load here; it is given waveforms instead.
warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed correctly")
_install_stand_in()
