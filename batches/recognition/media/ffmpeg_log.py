"""Parser of ffmpeg's log: the description of an input, and signs of damage.

Parsed line by line with anchored patterns that do not backtrack, since the log contains untrusted metadata of
any length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

_INPUT = re.compile(r"Input #0, ([a-z0-9_,]{1,100}), from ")
_DURATION = re.compile(r"  Duration: (\d{1,9}):(\d\d):(\d\d(?:\.\d{1,9})?)")
_START = re.compile(r", start:? (-?\d{1,9}\.\d{1,9})")
_STREAM = re.compile(r"  Stream #\d+:\d+[^ ]*(?: [^ :]+)?: (Audio|Video|Subtitle|Data|Attachment): ")
# The field after the rate: "stereo", "5.1(side)", "3 channels (FL+FR+FC)", "1 channels".
_LAYOUT = re.compile(r"\d{1,9} Hz, (?:(?P<count>\d+) channels|(?P<name>[a-z]+)|(?P<main>\d+)\.(?P<bass>\d+))")
_NAMED_LAYOUTS = {"mono": 1, "stereo": 2, "downmix": 2, "quad": 4, "hexagonal": 6, "octagonal": 8, "cube": 8}
_STARTS_APART = {"mpegts", "mpeg", "ogg"}  # demuxers whose streams ffmpeg shifts to zero one by one
_LONGEST_LINE = 2000  # characters; the rest of a line is metadata
_CUT_SHORT = (
    "packet corrupt", "corrupt input packet", "file ended prematurely", "truncated", "end of file before",
    "partial file", "ended unexpectedly", "error during demuxing",
)  # fmt: skip
_BAD_PACKET = ("error submitting packet to decoder", "error while decoding stream", "invalid data found when")
_MOST_BAD_PACKETS = 10  # a few are junk before the first frame, and cost some hundredths of a second
_ENCRYPTED = re.compile(r"encrypted|\benc[av]\b|decryption key|drm", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AudioStream:
    """Audio track. ``channels`` is 0 if unknown; ``layout`` is the name of the channel layout or empty.

    ``delay`` is its start in seconds after the file's, for formats in which ffmpeg drops it.
    """

    channels: int
    layout: str
    is_default: bool
    is_decodable: bool
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class InputDescription:
    """Description of an input by ffmpeg. ``duration`` in ms, 0 if unknown or estimated from the bit rate."""

    audio: tuple[AudioStream, ...]
    has_video: bool
    has_streams: bool
    duration: int
    is_estimated: bool


def describe(log: str) -> InputDescription | None:
    """Parse the description of the first input; None if there is none."""
    audio: list[AudioStream] = []
    kinds: set[str] = set()
    duration, start, demuxer = 0, 0.0, ""
    for line in _lines(log):
        if match := _INPUT.match(line):
            demuxer = match[1]
        elif (match := _DURATION.match(line)) and not duration:
            hours, minutes, rest = match.groups()
            duration = round((int(hours) * 3600 + int(minutes) * 60 + float(rest)) * 1000)
            start = _start(line)
        elif match := _STREAM.match(line):
            kinds.add(match[1])
            if match[1] == "Audio":
                delay = _start(line) - start if demuxer in _STARTS_APART else 0.0
                audio.append(replace(_audio_stream(line[match.end() :]), delay=max(0.0, delay)))
    if not demuxer:
        return None
    is_estimated = "Estimating duration from bitrate" in log
    return InputDescription(tuple(audio), "Video" in kinds, bool(kinds), duration, is_estimated)


def _start(line: str) -> float:
    """Start time of a file or stream in seconds; 0 if the line has none."""
    match = _START.search(line)
    return float(match[1]) if match else 0.0


def _audio_stream(text: str) -> AudioStream:
    channels, layout = 0, ""
    if match := _LAYOUT.search(text):
        if match["name"]:
            layout, channels = match["name"], _NAMED_LAYOUTS.get(match["name"], 0)
        elif match["count"]:
            channels = int(match["count"])
        else:
            layout = f"{match['main']}.{match['bass']}"
            channels = int(match["main"]) + int(match["bass"])
    is_decodable = bool(channels) and not text.startswith(("none", "unknown"))
    return AudioStream(channels, layout, "(default)" in text, is_decodable)


def speaks_of_encryption(log: str) -> bool:
    return any(_ENCRYPTED.search(line) for line in _lines(log))


def is_cut_short(log: str) -> bool:
    """Whether ffmpeg reported a premature end, or many undecodable packets."""
    bad = 0
    for line in _lines(log):
        folded = line.lower()
        if any(phrase in folded for phrase in _CUT_SHORT) or ("amr" in folded and "corrupt bits" in folded):
            return True
        bad += any(phrase in folded for phrase in _BAD_PACKET)
    return bad > _MOST_BAD_PACKETS


def _lines(log: str) -> Iterator[str]:
    for line in log.split("\n"):
        yield line[:_LONGEST_LINE].rstrip("\r")
