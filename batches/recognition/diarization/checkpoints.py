"""Safe loader of pyannote checkpoints: a restricted unpickler that executes no code of the file.

pyannote loads its checkpoints with an unrestricted unpickler, which can run arbitrary code. Here a checkpoint
yields tensors, plain values and pyannote's task specifications. Classes of the training libraries become
inert objects; any other class, and with it all foreign code, is rejected by name.
"""

from __future__ import annotations

import inspect
import pickle
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch

from batches.recognition.diarization import torchaudio_compat  # noqa: F401 - must be imported before pyannote
from batches.recognition.errors import ModelUnavailable

if TYPE_CHECKING:
    from pyannote.audio import Model

_MODELS = "pyannote.audio.models."  # the package whose networks may be built
_TASK = "pyannote.audio.core.task"
_TENSORS = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_tensor_v2"),
    *(
        ("torch", f"{kind}Storage")
        for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Bool", "Byte")
    ),
    *(
        ("builtins", name)
        for name in ("set", "frozenset", "list", "dict", "tuple", "int", "float", "str", "complex")
    ),
}
_TASKS = {(_TASK, name) for name in ("Specifications", "Problem", "Resolution")}
# Their classes describe the training and are not needed for inference.
_INERT_PACKAGES = {
    "pyannote",
    "torch",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "omegaconf",
    "numpy",
}
_INERT_MODULES = {"copyreg", "_codecs", "pathlib", "collections", "typing", "datetime"}


class _Inert:
    """Inert stand-in for an unneeded object in a checkpoint: accepts any state and runs no code."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        return

    def __setstate__(self, state: object) -> None:
        return

    def __setitem__(self, key: object, value: object) -> None:
        return

    def append(self, value: object) -> None:
        return

    def extend(self, values: object) -> None:
        return


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _TENSORS | _TASKS:
            return super().find_class(module, name)
        if module.partition(".")[0] in _INERT_PACKAGES or module in _INERT_MODULES:
            return _Inert
        raise pickle.UnpicklingError(f"it names the code {module}.{name}")


class _RestrictedPickle:
    """Restricted ``pickle_module`` for torch.load."""

    __name__ = "restricted"
    Unpickler = _Unpickler

    @staticmethod
    def load(file: IO[bytes], **options: Any) -> object:
        return _Unpickler(file, **options).load()


def load_model(checkpoint: Path) -> Model:
    """Load a pyannote network in evaluation mode, on the CPU. Raises ModelUnavailable for other files."""
    saved = _read(checkpoint)
    try:
        about = saved["pyannote.audio"]
        architecture = about["architecture"]
        network_class = _network_class(checkpoint, architecture["module"], architecture["class"])
        accepted = inspect.signature(network_class.__init__).parameters
        given = {key: value for key, value in dict(saved["hyper_parameters"]).items() if key in accepted}
        model = network_class(**given)
        model.on_load_checkpoint(saved)
        missing, _ = model.load_state_dict(saved["state_dict"], strict=False)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ImportError) as error:
        raise ModelUnavailable(
            f"{_name(checkpoint)} is not a complete pyannote checkpoint: {error}"
        ) from error
    if missing:
        raise ModelUnavailable(f"{_name(checkpoint)} lacks {len(missing)} tensors, such as {missing[0]}.")
    return model.eval()


def architecture_of(checkpoint: Path) -> str:
    """Class name of the network in a pyannote checkpoint; empty for files of another kind."""
    try:
        return str(_read(checkpoint)["pyannote.audio"]["architecture"]["class"])
    except (ModelUnavailable, KeyError, TypeError):
        return ""


def _network_class(checkpoint: Path, module: str, name: str) -> type[Model]:
    from pyannote.audio import Model

    found = getattr(import_module(module), name, None) if module.startswith(_MODELS) else None
    if not (isinstance(found, type) and issubclass(found, Model)):
        raise ModelUnavailable(
            f"{_name(checkpoint)} is not loaded: it names the code {module}.{name}; "
            "only networks of pyannote.audio are run."
        )
    return found


def _read(checkpoint: Path) -> dict[str, Any]:
    try:
        # Not `weights_only`, which refuses pyannote's classes; _RestrictedPickle is as strict.
        saved = torch.load(  # nosec B614
            checkpoint, map_location="cpu", weights_only=False, pickle_module=_RestrictedPickle
        )
    except pickle.UnpicklingError as error:
        raise ModelUnavailable(f"{_name(checkpoint)} is not loaded: {error}.") from error
    except FileNotFoundError as error:
        raise ModelUnavailable(f"{_name(checkpoint)} is missing.") from error
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError) as error:
        raise ModelUnavailable(f"{_name(checkpoint)} cannot be read: {error}") from error
    if not isinstance(saved, dict):
        raise ModelUnavailable(f"{_name(checkpoint)} is not a checkpoint.")
    return saved


def _name(checkpoint: Path) -> str:
    return f"{checkpoint.parent.name}/{checkpoint.name}"
