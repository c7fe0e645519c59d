"""Precision and recall of redaction on the marked sentences, as the help states them."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from batches.postprocessing.detection import KINDS
from batches.postprocessing.measurement import measure, parse
from speechportal.help import pages

SENTENCES = Path(__file__).parent / "sentences.tsv"
HELD_OUT = Path(__file__).parent / "held_out_sentences.tsv"  # no rule was corrected with them
Stated = dict[str, tuple[str, str, str, str]]


def stated(language: str) -> Stated:
    rows = re.findall(
        r"^\| ([a-z]+) \| (\d\.\d\d) \| (\d\.\d\d) \| (\d\.\d\d) \| (\d\.\d\d) \|$",
        pages.page("redaction", language).markdown,
        re.MULTILINE,
    )
    return {kind: tuple(figures) for kind, *figures in rows}


def figures(path: Path) -> dict[str, tuple[str, str]]:
    scores = measure(parse(path.read_text(encoding="utf-8").splitlines()))
    return {kind: (f"{score.recall:.2f}", f"{score.precision:.2f}") for kind, score in scores.items()}


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_help_states_what_is_measured(language: str) -> None:
    scores = measure(parse(SENTENCES.read_text(encoding="utf-8").splitlines()))
    known, held_out = figures(SENTENCES), figures(HELD_OUT)
    assert stated(language) == {kind: (*known[kind], *held_out[kind]) for kind in KINDS}
    assert all(score.marked >= 20 for score in scores.values())


def test_there_are_many_sentences_in_two_languages_and_many_hold_nothing() -> None:
    sentences = parse(SENTENCES.read_text(encoding="utf-8").splitlines())
    assert len(sentences) == 521
    assert {sentence.language for sentence in sentences} == {"ko", "en"}
    assert sum(not sentence.marks for sentence in sentences) >= 100


def test_the_held_out_sentences_are_others() -> None:
    sentences = parse(HELD_OUT.read_text(encoding="utf-8").splitlines())
    assert len(sentences) == 238
    assert sum(not sentence.marks for sentence in sentences) >= 50
    assert not {each.text for each in sentences} & {
        each.text for each in parse(SENTENCES.read_text(encoding="utf-8").splitlines())
    }


def test_what_is_missed_and_what_is_wrong_is_counted() -> None:
    scores = measure(parse(["en\tIt is [phone:who knows].", "en\tcall me at 415-555-2671 | thanks"]))
    phone = scores["phone"]
    assert (phone.marked, phone.hidden, phone.found, phone.right) == (1, 0, 1, 0)
    assert (phone.recall, phone.precision) == (0.0, 0.0)
    with pytest.raises(ValueError, match="no kind"):
        parse(["en\t[shoe:42]"])


def test_the_command_prints_every_kind(tmp_path: Path) -> None:
    out = StringIO()
    call_command("measure_redaction", str(SENTENCES), language="ko", show=True, stdout=out)
    assert all(re.search(rf"^{kind} +\d+ +[01]\.\d+", out.getvalue(), re.MULTILINE) for kind in KINDS)
    with pytest.raises(CommandError):
        call_command("measure_redaction", str(tmp_path / "nothing.tsv"))
