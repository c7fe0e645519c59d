"""The GPU check: its kit, and models by shape."""

from pathlib import Path

import numpy as np
import torch
from whisper.model import Whisper

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
