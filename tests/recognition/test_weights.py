"""Whisper checkpoints of every layout give the same model, without a second copy in memory."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from batches.recognition.asr.whisper_model import WhisperModel
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models import ctranslate2
from batches.recognition.models.dimensions import read_dimensions
from batches.recognition.models.faster_whisper_weights import faster_folder
from batches.recognition.models.store import ModelStore, WhisperCheckpoint
from batches.recognition.models.weights import WhisperWeights, open_weights
from tests.recognition.checkpoints import (
    SMALL,
    random_state,
    write_hugging_face,
    write_openai,
    write_safetensors,
)


def opened(path: Path) -> WhisperWeights:
    return open_weights(WhisperCheckpoint(path, "small"))


@pytest.mark.parametrize("layout", ["openai", "one file", "sharded", "ctranslate2"])
def test_every_layout_gives_the_same_tensors(layout: str, tmp_path: Path) -> None:
    state = random_state()
    if layout == "openai":
        path = write_openai(tmp_path / "small.pt", state)
    elif layout == "ctranslate2":
        source = write_openai(tmp_path / "small.pt", state)
        path = faster_folder(WhisperCheckpoint(source, "small"), tmp_path / "cache")
    else:
        path = write_hugging_face(tmp_path / "hf", state, shards=1 if layout == "one file" else 3)
    weights = opened(path)
    assert weights.dims == SMALL
    assert weights.mapped
    assert set(weights.state) == set(state)
    for name, tensor in state.items():
        assert torch.equal(weights.state[name].float(), tensor.float()), name
    weights.release()  # the pages come back from the file
    assert torch.equal(weights.state["encoder.conv1.weight"].float(), state["encoder.conv1.weight"].float())


def test_the_model_computes_what_openai_whisper_computes(tmp_path: Path) -> None:
    state = random_state(dtype=torch.float32)
    reference = Whisper(SMALL)
    reference.load_state_dict(state)
    weights = opened(write_hugging_face(tmp_path / "hf", state))
    model = WhisperModel(weights, precision="float32")
    mel = model.mel(np.random.default_rng(2).standard_normal(16_000 * 30).astype(np.float32), 1500)[None]
    with torch.inference_mode():
        expected = reference.embed_audio(mel)
        features = model.encode(mel)
        assert torch.allclose(features, expected, atol=1e-4)
        tokens = torch.tensor([[50258, 50259, 50359]])
        hidden, _scores = model.step(tokens, model.new_cache(features, 8))
        logits = model.all_logits(hidden[:, -1])
        assert torch.allclose(logits, reference.logits(tokens, expected)[:, -1], atol=1e-3)
    assert model.alignment_heads == {1: [0]}  # of generation_config.json


def test_heads_of_an_official_model_and_of_an_unknown_one(tmp_path: Path) -> None:
    dims = ModelDimensions(80, 1500, 64, 6, 4, 51864, 448, 64, 6, 4)  # tiny.en's layers and heads
    path = write_openai(tmp_path / "m.pt", random_state(dims), dims)
    official = open_weights(WhisperCheckpoint(path, "m", official="tiny.en"))
    assert official.alignment_heads == ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4))
    assert set(opened(path).alignment_heads) == {(layer, head) for layer in (2, 3) for head in range(6)}


def test_dimensions_are_read_without_torch_and_without_running_the_pickle(tmp_path: Path) -> None:
    path = write_openai(tmp_path / "small.pt", random_state())
    script = (
        "import sys, json; from pathlib import Path; from dataclasses import asdict\n"
        "from batches.recognition.models.dimensions import read_dimensions\n"
        "dims = read_dimensions(Path(sys.argv[1]))\n"
        "print(json.dumps([asdict(dims), dims.parameters, 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, check=True)
    dims, parameters, imported = json.loads(done.stdout)
    assert dims == asdict(SMALL)
    assert parameters == sum(tensor.numel() for tensor in random_state().values())
    assert not imported


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    target = tmp_path / "executed"
    path = tmp_path / "bomb.pt"
    torch.save({"dims": asdict(SMALL), "model_state_dict": {"x": Bomb(target)}}, path)
    assert read_dimensions(path).n_vocab == SMALL.n_vocab
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        opened(path)
    assert not target.exists()


def test_a_tokenizer_that_is_not_whispers_is_refused(tmp_path: Path) -> None:
    dims = ModelDimensions(80, 1500, 64, 2, 2, 52000, 448, 64, 2, 2)
    path = write_openai(tmp_path / "odd.pt", random_state(dims), dims)
    with pytest.raises(ModelUnavailable, match="vocabulary of 52000 tokens"):
        opened(path)


def test_a_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    folder = write_hugging_face(tmp_path / "hf", random_state())
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelUnavailable, match="damaged at"):
        opened(folder)


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    folder = write_hugging_face(tmp_path / "hf", random_state())
    write_safetensors(folder / "model.safetensors", {"model.encoder.conv1.bias": torch.zeros(64)})
    with pytest.raises(ModelUnavailable, match="Missing key"):
        WhisperModel(opened(folder))


def test_quantised_integers_are_refused_with_the_remedy(tmp_path: Path) -> None:
    source = write_openai(tmp_path / "small.pt", random_state())
    folder = faster_folder(WhisperCheckpoint(source, "small"), tmp_path / "cache")
    tensors = ctranslate2.map_tensors(folder / "model.bin")
    tensors["encoder/layer_0/ffn/linear_0/weight"] = np.zeros((256, 64), dtype=np.int8)
    with pytest.raises(ctranslate2.ModelFormatError, match="--quantization float16"):
        ctranslate2.dimensions(tensors)


def test_a_folder_is_found_by_its_path_and_an_empty_one_is_not(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    folder = write_hugging_face(tmp_path / "tuned", random_state())
    found = store.whisper(str(folder))
    assert (found.path, found.name) == (folder, "tuned")
    with pytest.raises(ModelUnavailable, match=r"config\.json with"):
        store.whisper(str(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_keeps_no_second_copy(tmp_path: Path) -> None:
    """Peak memory above the interpreter's is the model's own size, not that of file and model together."""
    dims = ModelDimensions(80, 1500, 768, 12, 8, 51865, 448, 768, 12, 8)
    folder = write_hugging_face(tmp_path / "hf", random_state(dims), dims)
    script = (
        "import sys; from pathlib import Path; import torch\n"
        "from batches.recognition.asr.whisper_model import WhisperModel\n"
        "from batches.recognition.models.weights import open_weights\n"
        "from batches.recognition.models.store import WhisperCheckpoint\n"
        "from torch.ao import quantization\n"
        "peak = lambda: int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
        "before = peak(); weights = open_weights(WhisperCheckpoint(Path(sys.argv[1]), 'm'))\n"
        "model = WhisperModel(weights, precision='bfloat16'); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, check=True)
    peak = int(done.stdout.split()[-1]) * 1024
    parameters = read_dimensions(folder).parameters
    embedding = dims.n_vocab * dims.n_text_state
    own = 2 * (parameters - embedding) + (4 + 1) * embedding  # embedding in float32, output layer in int8
    assert peak < own + 2 * parameters * 0.6, (peak >> 20, own >> 20)
