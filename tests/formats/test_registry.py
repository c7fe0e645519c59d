"""Registry of file formats, and default names of speakers."""

from __future__ import annotations

import sys
import time
from subprocess import run

import pytest

from batches.formats import FORMATS, Context, render
from batches.formats.context import default_speaker_name
from tests.formats.samples import interview


def test_the_formats_in_order() -> None:
    assert [(each.name, each.extension, each.media_type) for each in FORMATS.values()] == [
        ("json", ".json", "application/json"),
        ("srt", ".srt", "application/x-subrip"),
        ("smi", ".smi", "application/x-sami"),
        ("vtt", ".vtt", "text/vtt"),
        ("txt", ".txt", "text/plain"),
        ("tsv", ".tsv", "text/tab-separated-values"),
        ("ass", ".ass", "text/x-ssa"),
        ("docx", ".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ]
    assert FORMATS["txt"].content_type == "text/plain; charset=utf-8"
    assert FORMATS["docx"].content_type == FORMATS["docx"].media_type


@pytest.mark.parametrize("name", FORMATS)
def test_rendering_twice_gives_the_same_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = render(name, interview(), Context(edited_texts={0: "Good evening."}))
    later = time.time() + 100_000
    monkeypatch.setattr(time, "time", lambda: later)
    assert first
    assert render(name, interview(), Context(edited_texts={0: "Good evening."})) == first
    assert render(name, interview()) != first


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(KeyError):
        render("pdf", interview())


@pytest.mark.parametrize(
    ("label", "name"),
    [("1", "A"), ("26", "Z"), ("27", "AA"), ("28", "AB"), ("703", "AAA"), ("0", "0"), ("x", "x"), ("", "?")],
)
def test_letters_for_speakers(label: str, name: str) -> None:
    assert default_speaker_name(label) == name


def test_a_name_is_kept_on_one_line_and_an_empty_one_is_none() -> None:
    context = Context(speaker_names={"1": "Kim\nMinsu", "2": " \u202e "})
    assert (context.speaker_name("1"), context.speaker_name("2")) == ("Kim Minsu", "B")
    assert context.is_renamed("1")
    assert not context.is_renamed("2")


def test_needs_no_django() -> None:
    code = (
        "import sys, batches.formats; sys.exit(any(name.split('.')[0] == 'django' for name in sys.modules))"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
