"""Want of memory, and graphs that depend on each other: what a card does to the decoder, on the CPU."""

import gc
import weakref
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from batches.recognition.asr.chunk_decoder import DecodeRequest
from batches.recognition.asr.continuous import decoder as decoders
from batches.recognition.asr.continuous import encoder as encoders
from batches.recognition.asr.continuous import row_results
from batches.recognition.asr.continuous.attempts import FinishedRow
from batches.recognition.asr.continuous.decoder import ContinuousDecoder
from batches.recognition.asr.continuous.decoding_step import DecodingStep
from batches.recognition.asr.continuous.encoder import Encoder
from batches.recognition.asr.continuous.keyword_tables import KeywordAutomaton, KeywordTables
from batches.recognition.asr.continuous.row_results import RowResults, RowTensors
from batches.recognition.asr.continuous.static_batch import StaticBatch
from batches.recognition.asr.continuous.step_graphs import StepRunner
from batches.recognition.asr.decoding import Decoded
from batches.recognition.asr.keywords import KeywordTree
from batches.recognition.runtime.cuda_graphs import Graph, GraphedFunction
from tests.recognition.continuous.graphs import Recorder
from tests.recognition.continuous.small_model import (
    each_alone,
    noises,
    short_limit,
    small_decoder,
    small_weights,
    tokenizer,
)


def requests() -> list[DecodeRequest]:
    return [DecodeRequest(samples, "en", full_context=len(samples) > 30_000) for samples in noises(8)]


@pytest.fixture(scope="module")
def alone() -> list[Decoded]:
    return each_alone(requests())


def test_rows_whose_results_are_on_their_way_are_not_decoded_again(
    alone: list[Decoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out at the second group of a harvest: the first has been handed over."""
    compute, finish = RowResults.__call__, FinishedRow.finish
    calls: list[int] = []
    finished: Counter[int] = Counter()

    def scarce(self: RowResults, rows: np.ndarray, *arguments: Any) -> RowTensors:
        calls.append(len(rows))
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(self, rows, *arguments)

    def count(self: FinishedRow) -> None:
        finished[id(self.attempt)] += 1
        finish(self)

    monkeypatch.setattr(row_results, "GROUP_ROWS", (1,))
    monkeypatch.setattr(RowResults, "__call__", scarce)
    monkeypatch.setattr(FinishedRow, "finish", count)
    decoder = small_decoder(rows=16, full_rows=8)
    found = [future.result() for future in decoder.decode(requests())]
    assert decoder.rows in ((8, 8), (16, 4))
    decoder.close()
    assert [each.tokens for each in found] == [each.tokens for each in alone]
    assert list(finished.values()) == [1] * len(found)


def test_rows_with_very_many_alignment_heads_are_not_captured(
    alone: list[Decoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory of their graphs would stay in use: gigabytes for a large model without a list of heads."""
    monkeypatch.setattr(row_results, "GROUP_VALUES", 1)
    computed: list[str] = []
    captured = GraphedFunction._captured

    def noted(self: GraphedFunction[Any], size: tuple[int, ...], capture: Any) -> Any:
        computed.append(self._function.__name__)
        return captured(self, size, capture)

    monkeypatch.setattr(GraphedFunction, "_captured", noted)
    decoder = ContinuousDecoder(
        small_weights(), tokenizer, rows=4, full_rows=4, limit=short_limit, new_capture=Recorder
    )
    found = [future.result() for future in decoder.decode(requests()[:3])]
    decoder.close()
    assert [each.entered for each in found] == [each.entered for each in alone[:3]]
    assert "_fill" in computed
    assert "_compute" not in computed


def test_running_out_of_memory_while_loading_halves_the_rows(
    alone: list[Decoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    warm_up = Encoder.warm_up

    def scarce(self: Encoder, frames: int, most: int) -> None:
        if most > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        warm_up(self, frames, most)

    monkeypatch.setattr(Encoder, "warm_up", scarce)
    decoder = small_decoder(rows=16)
    decoder.wait_until_ready()
    assert decoder.rows == (4, 4)
    assert decoder.decode(requests()[:1])[0].result().tokens == alone[0].tokens
    decoder.close()


def test_what_is_encoded_later_needs_no_other_graphs_than_those_of_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With few rows, too: more memory for the full context would invalidate the graphs of the short one."""
    captured = GraphedFunction._captured
    sizes: list[tuple[int, ...]] = []

    def noted(self: GraphedFunction[Any], size: tuple[int, ...], capture: Any) -> Any:
        if self._function.__name__ == "_encode":
            sizes.append(size)
        return captured(self, size, capture)

    monkeypatch.setattr(GraphedFunction, "_captured", noted)
    monkeypatch.setattr(row_results, "GROUP_ROWS", (1, 4))  # fewer graphs
    monkeypatch.setattr(encoders, "is_gpu", lambda _device: True)
    monkeypatch.setattr(decoders, "SHORT_CONTEXT", 100)  # frames: half of what the small model has
    decoder = ContinuousDecoder(
        small_weights(),
        tokenizer,
        rows=4,
        full_rows=4,
        encoder_batch=4,
        limit=short_limit,
        new_capture=Recorder,
    )
    decoder.wait_until_ready()
    at_start = len(sizes)
    assert at_start == len(set(sizes))
    assert {frames for _, frames in sizes} == {100, 150}
    short = [request for request in requests() if len(request.samples) < 16_000]
    assert 0 < len(short) < len(requests())
    for future in decoder.decode([*requests()[:4], *short]):
        assert future.result().tokens
    decoder.close()
    assert len(sizes) == at_start


def test_graphs_of_outgrown_keyword_tables_stay_until_all_of_the_batch_go() -> None:
    """Destroying one graph may free memory of cuBLAS that the others of its capture write to."""
    weights = small_weights()
    graphs: list[weakref.ref[Graph]] = []

    class Watched(Recorder):
        def __call__(self, work: Any) -> Graph:
            graph = super().__call__(work)
            graphs.append(weakref.ref(graph))
            return graph

    tables = KeywordTables(len(weights.output), weights.text_tokens, weights.device)
    tables.place(KeywordAutomaton.compile(KeywordTree(["Speech"], tokenizer(), weight=9.0, spaced=True)))
    batch = StaticBatch(weights, 4, 150)
    runner = StepRunner(DecodingStep(weights, tokenizer()), batch, tables, Watched())
    shape = runner.shape(4, 10, keywords=True, sampling=False)
    runner.run(shape)
    words = [f"Portal {number}" for number in range(200)]
    version = tables.version
    tables.place(KeywordAutomaton.compile(KeywordTree(words, tokenizer(), weight=9.0, spaced=True)))
    assert tables.version > version
    runner.run(shape)
    assert len(graphs) == 2
    assert all(graph() is not None for graph in graphs)
    del runner
    gc.collect()
    assert all(graph() is None for graph in graphs)
