"""PocketSphinx recogniser: hidden Markov models with a word n-gram language model. English only.

Its model is part of its package and has nothing in common with Whisper: it is a minimal example of the
recogniser interface. Its word error rate is several times Whisper's. Needs the extra ``[pocketsphinx]``; the
model's name is ``pocketsphinx:en-us``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from batches.recognition import languages
from batches.recognition.contracts import (
    OnChunk,
    Progress,
    RecognisedChunk,
    RecognisedFile,
    SpeechChunk,
    TimedWord,
)
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from batches.recognition.options import Options
from batches.recognition.providers import LoadSettings, RecogniserProvider
from batches.recognition.runtime.batching import BatchKind, BatchThread, results_in_order

if TYPE_CHECKING:
    from pocketsphinx import Decoder

MODEL = "pocketsphinx:en-us"

_LANGUAGE = "en"
_FRAME_SECONDS = 0.01
_NOT_WORDS = ("<", "[", "+")  # first letters of silences and noises: <sil>, [NOISE], ++BREATH++
_PRONUNCIATION = re.compile(r"\(\d+\)$")  # "the(2)": the second pronunciation
_LEAST = 1e-6  # minimum probability, so that its logarithm is finite


class PocketSphinxRecogniser:
    """A :class:`SpeechRecogniser` that decodes the chunks of all files one by one in the batch thread."""

    name = "pocketsphinx"
    model = MODEL

    def __init__(self, decoder: Decoder, batches: BatchThread) -> None:
        self._decoder, self._batches = decoder, batches
        self._kind: BatchKind[SpeechChunk, RecognisedChunk] = BatchKind(run=self._decode, size=1)

    def close(self) -> None:
        """Do nothing: the owner of the batch thread ends it."""

    def recognise(
        self,
        chunks: Sequence[SpeechChunk],
        options: Options,
        progress: Progress,
        on_chunk: OnChunk | None = None,
    ) -> RecognisedFile:
        """See :class:`SpeechRecogniser`. Keywords have no effect."""
        expected = languages.candidates(options.language)
        found = results_in_order(self._batches.submit(self._kind, chunks), progress, on_chunk)
        mismatch = bool(expected) and _LANGUAGE not in expected
        flags = ["language_mismatch"] if mismatch else []
        return RecognisedFile(found, _LANGUAGE, language_probability=0.0 if mismatch else 1.0, flags=flags)

    def _decode(self, chunks: list[SpeechChunk]) -> list[RecognisedChunk]:
        return [self._decode_chunk(chunk) for chunk in chunks]

    def _decode_chunk(self, chunk: SpeechChunk) -> RecognisedChunk:
        sound = np.clip(chunk.samples * 32768, -32768, 32767).astype(np.int16)
        self._decoder.start_utt()
        self._decoder.process_raw(sound.tobytes(), no_search=False, full_utt=True)
        self._decoder.end_utt()
        words = [_word(segment) for segment in self._decoder.seg() if segment.word[0] not in _NOT_WORDS]
        scores = [math.log(max(word.probability, _LEAST)) for word in words]
        return RecognisedChunk(words, _LANGUAGE, mean_logprob=float(np.mean(scores)) if scores else 0.0)


def _word(segment: Any) -> TimedWord:
    return TimedWord(
        text=" " + _PRONUNCIATION.sub("", segment.word),
        start=segment.start_frame * _FRAME_SECONDS,
        end=(segment.end_frame + 1) * _FRAME_SECONDS,
        probability=float(min(1.0, max(0.0, segment.prob))),
    )


def claims(reference: str, _store: ModelStore) -> bool:
    """Whether this is the package's own model."""
    return reference == MODEL


def load(reference: str, settings: LoadSettings) -> PocketSphinxRecogniser:
    """Load the package's model. Raises ModelUnavailable."""
    PROVIDER.require()
    from pocketsphinx import Decoder

    try:
        decoder = Decoder(samprate=16_000, loglevel="FATAL")
    except (RuntimeError, ValueError) as error:
        raise ModelUnavailable(
            f"The model '{reference}' cannot be loaded: {error}", name=reference
        ) from error
    return PocketSphinxRecogniser(decoder, settings.batches)


PROVIDER = RecogniserProvider(
    name="pocketsphinx",
    claims=claims,
    load=load,
    packages=("pocketsphinx",),
    extra="pocketsphinx",
    bundled=True,
)
