"""Errors that no file has caused: of loading models, and those after which a process is of no more use."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from batches.recognition.errors import (
    EngineUnavailable,
    HostExhausted,
    RecognitionError,
    is_exhausted,
)

_LONGEST_REASON = 300
# In messages of errors after which a process cannot use its GPU.
_LOST_DEVICE = ("CUDA error", "CUBLAS_STATUS_", "CUDNN_STATUS_", "cuFFT error", "INTERNAL ASSERT FAILED")


class DecoderFailed(Exception):
    """The decoding thread of a model has ended by an error, the cause: no further file is decoded."""


def is_hopeless(error: Exception) -> bool:
    """Whether every further file of this process would fail."""
    if isinstance(error, MemoryError | DecoderFailed):
        return True
    return any(part in str(error) for part in _LOST_DEVICE)


@contextmanager
def as_installation_faults() -> Iterator[None]:
    """Raise EngineUnavailable or HostExhausted instead of an unexpected error; a hopeless one passes."""
    try:
        yield
    except RecognitionError:
        raise
    except Exception as error:
        if is_hopeless(error):
            raise
        traceback.print_exc()
        if is_exhausted(error):
            raise HostExhausted from error
        line = (str(error).splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {line[:_LONGEST_REASON]}"
        raise EngineUnavailable(f"The models cannot be loaded: {reason}", reason=reason) from error
