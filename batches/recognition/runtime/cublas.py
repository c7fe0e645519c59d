"""cuBLAS of CUDA 12, which CTranslate2 loads to compute on a GPU.

torch brings the libraries of its own CUDA, which may be another one. NVIDIA's package ``nvidia-cublas-cu12``
puts those of CUDA 12 into a folder that the loader does not search: they are loaded here, before CTranslate2
asks for them by their names.
"""

from __future__ import annotations

import contextlib
import importlib.util
from ctypes import CDLL
from pathlib import Path

from batches.recognition.errors import ModelUnavailable

_LIBRARIES = ("libcublasLt.so.12", "libcublas.so.12")  # the second one needs the first
PACKAGE = "nvidia-cublas-cu12"


def missing() -> str:
    """Load the libraries. The reason that they cannot be, with the remedy; empty if they are loaded."""
    absent = [name for name in _LIBRARIES if not _load(name)]
    if not absent:
        return ""
    return (
        f"CTranslate2 computes on a GPU with CUDA 12, whose {absent[-1]} is not installed. "
        f"Run: pip install {PACKAGE}"
    )


def require() -> None:
    """Raise ModelUnavailable if the libraries cannot be loaded."""
    if reason := missing():
        raise ModelUnavailable(reason)


def _load(name: str) -> bool:
    for place in (name, *(str(folder / name) for folder in _package_folders())):
        with contextlib.suppress(OSError):
            CDLL(place)
            return True
    return False


def _package_folders() -> list[Path]:
    """Folders of the libraries that NVIDIA's packages of CUDA 12 install."""
    found = importlib.util.find_spec("nvidia")
    places = (found.submodule_search_locations or ()) if found else ()
    return [Path(place) / "cublas" / "lib" for place in places]
