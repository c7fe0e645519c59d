"""Static batch: requirements of CUDA graphs, such as fixed addresses and no synchronisation with the host."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from batches.recognition.asr.continuous.decoding_step import DecodingStep
from batches.recognition.asr.continuous.encoder import Encoder
from batches.recognition.asr.continuous.keyword_tables import KeywordAutomaton, KeywordTables
from batches.recognition.asr.continuous.row_filling import RowFilling, RowStart
from batches.recognition.asr.continuous.row_results import RowResults
from batches.recognition.asr.continuous.static_batch import StaticBatch
from batches.recognition.asr.continuous.weights import DeviceWeights
from batches.recognition.asr.keywords import KeywordTree
from batches.recognition.models.gpu_memory import bytes_per_row
from tests.recognition.continuous.small_model import (
    ALIGNMENT_HEADS,
    DIMS,
    fake_weights,
    noises,
    small_weights,
    tokenizer,
)

pytestmark = pytest.mark.usefixtures("one_thread")

TYPES = [torch.float32, torch.float16, torch.bfloat16]
FRAMES = 60


def state(batch: StaticBatch) -> dict[str, Tensor]:
    """All of a batch's tensors on the device by name, some of them parts of others."""
    tensors = {
        name: value
        for name, value in vars(batch).items()
        if isinstance(value, Tensor) and not name.startswith("_host")
    }
    for name in ("cross", "cache"):
        tensors |= {f"{name} {layer}": tensor for layer, tensor in enumerate(getattr(batch, name))}
    return tensors


def filled(weights: DeviceWeights) -> tuple[StaticBatch, KeywordTables]:
    """Four rows: the first with keywords and a limit of 5 tokens, the third at a temperature, two empty."""
    tables = KeywordTables(len(weights.output), weights.text_tokens, weights.device)
    tree = KeywordTree(["Speech Portal"], tokenizer(), weight=7.0, spaced=True)
    keywords, bias = tables.place(KeywordAutomaton.compile(tree))
    batch = StaticBatch(weights, 4, FRAMES)
    initial = tokenizer().sot_sequence_including_notimestamps
    encoded = Encoder(weights)(noises(2), FRAMES)
    assert encoded.dtype == weights.dtype
    RowFilling(weights, batch, lambda: None)(
        [0, 2],
        encoded,
        [RowStart(initial, 0, 5, keywords, bias), RowStart(initial, 0, 30, temperature=0.8, seed=3)],
    )
    return batch, tables


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_steps_keep_every_address_and_leave_ended_rows_as_they_are(dtype: torch.dtype) -> None:
    weights = small_weights(dtype)
    batch, tables = filled(weights)
    step = DecodingStep(weights, tokenizer())
    addresses = {name: tensor.data_ptr() for name, tensor in state(batch).items()}
    with torch.inference_mode():
        for _ in range(10):
            step(batch, 4, 96, tables, sampling=True)
        assert batch.done.tolist() == [True, True, False, True]
        before = {name: tensor.clone() for name, tensor in state(batch).items()}
        for _ in range(3):
            step(batch, 4, 96, tables, sampling=True)
    assert {name: tensor.data_ptr() for name, tensor in state(batch).items()} == addresses
    for name, tensor in state(batch).items():
        rows_first = tensor if name.split()[0] not in ("cross", "cache") else tensor.transpose(0, 1)
        rows_before = before[name] if rows_first is tensor else before[name].transpose(0, 1)
        if name not in ("row_numbers", "places"):
            for row in (0, 1, 3):
                assert torch.equal(rows_first[row], rows_before[row]), (name, row)
    assert batch.position[2] > before["position"][2]


@pytest.mark.parametrize("dtype", TYPES[1:], ids=str)
def test_half_precision_writes_nearly_what_float32_writes(dtype: torch.dtype) -> None:
    hidden = []
    for each in (torch.float32, dtype):
        weights = small_weights(each)
        batch, tables = filled(weights)
        with torch.inference_mode():
            DecodingStep(weights, tokenizer())(batch, 4, 96, tables, sampling=False)
        hidden.append(batch.first_hidden[[0, 2]].float())
    assert torch.isfinite(hidden[1]).all()
    assert torch.nn.functional.cosine_similarity(hidden[0], hidden[1]).min() > 0.99


def test_a_moved_row_goes_on_as_before() -> None:
    weights = small_weights()
    stays, moves = filled(weights)[0], filled(weights)[0]
    step = DecodingStep(weights, tokenizer())
    with torch.inference_mode():
        for number in range(12):
            if number == 6:
                moves.move([2], [1])
            step(stays, 4, 96, None, sampling=True)
            step(moves, 2 if number >= 6 else 4, 96, None, sampling=True)
    count = int(stays.position[2]) - 3
    assert count > 5
    assert torch.equal(stays.tokens[2, :count], moves.tokens[1, :count])


def step_without_values(device: str, dtype: torch.dtype) -> tuple[StaticBatch, DecodingStep, KeywordTables]:
    weights = fake_weights(device, dtype)
    batch = StaticBatch(weights, 8, FRAMES)
    tables = KeywordTables(len(weights.output), weights.text_tokens, torch.device(device))
    step = DecodingStep(weights, tokenizer())
    step(batch, 4, 96, tables, sampling=True)
    RowFilling(weights, batch, lambda: None)._fill(4)
    results = RowResults(weights, batch, tokenizer().no_speech, lambda: None)
    assert results._compute(4, 32, 3).maps.shape == (4, 29, FRAMES)
    assert batch.tokens.device.type == device
    return batch, step, tables


def test_a_step_and_a_harvest_never_look_at_the_host() -> None:
    """Fake tensors have no values: reading one raises an error."""
    with FakeTensorMode(), torch.no_grad():
        batch, _, _ = step_without_values("cpu", torch.float32)
        with pytest.raises(DataDependentOutputException):
            bool(batch.done.all())
        with pytest.raises(DynamicOutputShapeException):
            batch.position[batch.done].sum()


def test_a_step_keeps_to_its_device() -> None:
    """On a device other than the CPU, in half precision: mixing devices or types raises an error."""
    with torch.no_grad():
        batch, step, tables = step_without_values("meta", torch.float16)
        step._never = step._never.new_zeros(3, device="cpu")
        with pytest.raises(RuntimeError, match="same device"):
            step(batch, 4, 96, tables, sampling=True)


def test_the_computed_size_of_a_row_is_what_is_allocated() -> None:
    weights = small_weights(torch.float16)

    def size(rows: int) -> int:
        storages = [tensor.untyped_storage() for tensor in state(StaticBatch(weights, rows, 150)).values()]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    one, two = size(1), size(2)
    assert two - one == pytest.approx(bytes_per_row(DIMS, 150, len(ALIGNMENT_HEADS), 2), rel=0.02)
