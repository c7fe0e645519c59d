"""Many files in one engine at once: each has the transcript that it has alone, and its own failures."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from batches.recognition.transcript import Transcript
from tests.recognition.recognise import ignore, recognise
from tests.recognition.sounds import write_wav
from tests.sample_speech import load_sample

RATE = 16_000
# Cuts of the sample in seconds, with what is asked for: languages, keyword lists and speakers are mixed.
CUTS = (
    (6.5, 14.0, Options(language="en", speakers=True)),
    (12.5, 14.5, Options(language="en", keywords=["Dyanne", "Kubernetes"])),
    (14.5, 20.0, Options(language="auto", speakers=True)),
    (14.5, 20.0, Options(language="enko", keywords=["Chicagho"])),
    (21.0, 27.0, Options(language="de")),
    (10.0, 24.0, Options(language="en", keywords=["Dyanne"], speakers=True)),
    (10.0, 16.0, Options(language="ko-KR", keywords=["김철수", "서울"])),
    (18.0, 24.0, Options(language="ja")),
)


@pytest.fixture(scope="module")
def exact_engine() -> Iterator[Engine]:
    """Engine in float32, also in its output layer, so that the batch size does not change results."""
    with Engine(precision="float32") as engine:
        engine.load(speakers=True)
        yield engine


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Options]]:
    folder, sample = tmp_path_factory.mktemp("files"), load_sample()
    return [
        (write_wav(folder / f"{number}.wav", sample[round(start * RATE) : round(end * RATE)]), options)
        for number, (start, end, options) in enumerate(CUTS)
    ]


@pytest.fixture(scope="module")
def alone(exact_engine: Engine, files: list[tuple[Path, Options]]) -> list[Transcript]:
    return [recognise(exact_engine, path, options) for path, options in files]


def words(transcript: Transcript) -> list[tuple[str, int, int, str]]:
    return [
        (word.text, word.start, word.end, word.speaker)
        for segment in transcript.segments
        for word in segment.words
    ]


def test_a_transcript_is_the_same_alone_and_in_company(
    exact_engine: Engine, files: list[tuple[Path, Options]], alone: list[Transcript]
) -> None:
    assert all(transcript.text for transcript in alone)
    assert len({transcript.text for transcript in alone}) > 5
    barrier = threading.Barrier(len(files))

    def together(path: Path, options: Options) -> Transcript:
        barrier.wait(120)
        return recognise(exact_engine, path, options)

    with ThreadPoolExecutor(len(files)) as pool:
        found = list(pool.map(together, *zip(*files, strict=True)))
    assert [each.text for each in found] == [each.text for each in alone]
    assert [words(each) for each in found] == [words(each) for each in alone]
    assert [each.language for each in found] == [each.language for each in alone]
    assert [[asdict(turn) for turn in each.turns] for each in found] == [
        [asdict(turn) for turn in each.turns] for each in alone
    ]


class Cancelled(Exception):
    """Raised by a test's progress callback."""


def test_a_file_that_is_cancelled_leaves_the_others_alone(
    exact_engine: Engine, files: list[tuple[Path, Options]], alone: list[Transcript]
) -> None:
    stages: list[str] = []

    def cancel(stage: str, _share: float) -> None:
        stages.append(stage)
        if stage == "recognising":
            raise Cancelled

    path, options = files[5]
    with ThreadPoolExecutor(2) as pool:
        audio = exact_engine.load_audio(path, options, ignore)
        doomed = pool.submit(exact_engine.transcribe, audio, options, cancel)
        other = pool.submit(recognise, exact_engine, *files[0])
        with pytest.raises(Cancelled):
            doomed.result(120)
        assert other.result(120).text == alone[0].text
    assert "recognising" in stages
    # The engine goes on with the cancelled file too.
    assert exact_engine.transcribe(audio, options, ignore).text == alone[5].text


def test_a_file_that_cannot_be_recognised_leaves_the_others_alone(
    exact_engine: Engine, files: list[tuple[Path, Options]], alone: list[Transcript]
) -> None:
    path, options = files[0]
    broken = exact_engine.load_audio(path, options, ignore)
    ((label, audio),) = broken.sounds
    object.__setattr__(audio, "samples", np.stack([audio.samples, audio.samples]))
    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(exact_engine.transcribe, broken, options, ignore)
        other = pool.submit(recognise, exact_engine, path, options)
        with pytest.raises(ValueError, match="mono"):
            failing.result(120)
        assert other.result(120).text == alone[0].text
    assert label == ""


def test_progress_grows_from_stage_to_stage(exact_engine: Engine, files: list[tuple[Path, Options]]) -> None:
    told: list[tuple[str, float]] = []
    path, options = files[0]
    audio = exact_engine.load_audio(path, options, ignore)
    exact_engine.transcribe(audio, options, lambda stage, share: told.append((stage, share)))
    assert list(dict.fromkeys(stage for stage, _ in told if stage != "loading models")) == [
        "finding speech",
        "recognising",
    ]
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
