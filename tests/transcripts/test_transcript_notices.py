"""Notices on the transcript page: missing audio, tracks or words."""

from __future__ import annotations

from django.template.loader import render_to_string

from batches.recognition.transcript import Span, Transcript
from batches.transcripts import transcript_page


def shown(transcript: Transcript) -> str:
    notices = transcript_page.notices_of(transcript)
    return render_to_string("batches/_transcript.html", {"notices": notices, "transcript": transcript})


def test_what_is_missing_is_named_with_its_times() -> None:
    flags = ["truncated", "tracks_left_out", "unrecognised_speech"]
    transcript = Transcript(
        "en", 1.0, 60_000, flags=flags, unrecognised=[Span(5_000, 9_000)], missing_duration=61_000
    )
    page = shown(transcript)
    assert "1:01 of its sound is missing" in page
    assert "other audio tracks" in page
    assert "from 0:05 to 0:09" in page


def test_a_whole_transcript_has_no_notices() -> None:
    assert "notices" not in shown(Transcript("en", 1.0, 60_000))
