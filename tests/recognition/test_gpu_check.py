"""The GPU check: its kit, and models by shape."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from whisper.model import Whisper

from batches.recognition.bench.gpu_check import prepare
from batches.recognition.bench.gpu_kit import Kit, KitRecording, join
from batches.recognition.bench.gpu_shape import token_count
from batches.recognition.bench.shapes import SHAPES, RandomStateDict, alignment_heads


def test_a_kit_gives_back_its_recordings(tmp_path: Path) -> None:
    sound = np.sin(np.arange(8000) / 9).astype(np.float32)
    Kit(tmp_path).write_recordings([KitRecording("one", "en", sound), KitRecording("two", "ko", sound[:100])])
    one, two = Kit(tmp_path).read_recordings()
    assert (one.name, one.language, two.name, two.language) == ("one", "en", "two", "ko")
    np.testing.assert_allclose(one.samples, sound, atol=1e-4)
    assert len(two.samples) == 100


def test_recordings_are_joined_to_the_length_asked_for() -> None:
    recordings = [KitRecording("", "en", np.ones(seconds * 16_000, dtype=np.float32)) for seconds in (2, 3)]
    assert len(join(recordings, 30.0)) == 5 * (2 + 3 + 1) * 16_000
    assert len(join(recordings, 1.0)) == (2 + 3 + 1) * 16_000


def test_random_weights_have_the_names_and_shapes_of_openai_whispers() -> None:
    dims = SHAPES["tiny"]
    made = RandomStateDict(dims, torch.device("cpu"), torch.float16)
    expected = {name: tensor.shape for name, tensor in Whisper(dims).state_dict().items()}
    assert {name: tensor.shape for name, tensor in made.items()} == expected
    assert made["decoder.blocks.0.mlp.0.weight"].dtype == torch.float16
    assert made["decoder.ln.weight"].eq(1).all()
    assert all(layer < dims.n_text_layer and head < dims.n_text_head for layer, head in alignment_heads(dims))


def test_texts_of_a_shape_have_100_to_110_tokens() -> None:
    counts = {token_count(number / 97) for number in range(1, 1400)}
    assert (min(counts), max(counts)) == (100, 110)


# Runs the comparison with no package but those that the check names, as on a bare machine with torch.
BARE = """
import importlib.machinery, sys
from pathlib import Path
import torch

FOREIGN = {"django", "imageio_ffmpeg", "pyannote", "pyannote.audio", "boto3", "more_itertools", "coverage"}

class Bare:
    def find_spec(self, name, path=None, target=None):
        if name in FOREIGN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name == "whisper" and "packages" not in importlib.machinery.PathFinder.find_spec(name).origin:
            raise ModuleNotFoundError("the kit has a whisper of its own")

sys.meta_path.insert(0, Bare())
from batches.recognition.bench.gpu_check import GpuCheck, open_decoder
from batches.recognition.bench.gpu_kit import Kit

cpu = torch.device("cpu")
kit = Kit(Path(sys.argv[1]))
check = GpuCheck(kit, cpu, seconds=10, shape="", memory=2**34, most=1)
decoder, _ = open_decoder(check._store, cpu, precision="float32")
assert check._compare(decoder)
decoder.close()
"""


def test_a_kit_has_all_that_a_machine_with_torch_alone_lacks(tmp_path: Path) -> None:
    kit = Kit(tmp_path / "kit")
    prepare(kit, None, None, most=1)
    assert [recording.name for recording in kit.read_recordings()] == ["sample.wav"]
    assert sum(len(chunk.tokens) for chunk in kit.read_expected()) > 60
    environment = {**os.environ, "PYTHONPATH": str(kit.folder / "packages"), "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", BARE, str(kit.folder)],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "recordings cut as on the CPU in float32: 1 of 1" in found.stdout
    assert "chunks' tokens as on the CPU in float32: 2 of 2" in found.stdout
