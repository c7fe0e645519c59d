"""The benchmark's arithmetic: errors, loops, ratios; and one real measurement in a process of its own."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from batches.recognition.bench import report
from batches.recognition.bench.recordings import Recording, own_sample, read_manifest
from batches.recognition.bench.scoring import (
    diarization_errors,
    edits,
    error_counts,
    read_rttm,
    repeated_words,
)
from batches.recognition.transcript import SpeakerTurn


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


def test_speaker_errors_are_none_for_the_reference_itself() -> None:
    sample = own_sample()
    assert sample.rttm is not None
    turns = read_rttm(sample.rttm)
    wrong, total = diarization_errors(turns, turns, sample.seconds)
    assert wrong == 0
    assert total > 20
    assert diarization_errors(turns, [SpeakerTurn(0, 30_000, "1")], sample.seconds)[0] > 5


def rounds(*cpu: float) -> list[dict[str, object]]:
    return [
        {
            "cpu": each,
            "wall": each,
            "peak_mb": 100.0,
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
