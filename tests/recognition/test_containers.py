"""Media containers: all audio tracks are decoded, at their times, whatever the header or phase."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from batches.recognition.errors import NoAudioStream
from batches.recognition.media.decoding import SAMPLE_RATE, Audio, Samples, decode
from batches.recognition.media.ffmpeg_log import describe, is_cut_short
from batches.recognition.media.sounds import decode_sounds
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from tests.recognition.recognise import recognise
from tests.recognition.sounds import write_wav
from tests.sample_speech import load_sample

DIANE = slice(12 * SAMPLE_RATE, 15 * SAMPLE_RATE)
CHICAGO = slice(15 * SAMPLE_RATE, 19 * SAMPLE_RATE)
PLACEHOLDERS = [0, 0x7FFFFFFF, 0xFFFFFFFF, 2_000_000_000, 0x7FFFF000]


def ffmpeg(target: Path, *options: str) -> Path:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *options, str(target)]
    subprocess.run(command, check=True)
    return target


@pytest.fixture
def diane(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "diane.wav", load_sample()[DIANE])


@pytest.fixture
def chicago(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "chicago.wav", load_sample()[CHICAGO])


def sounds(path: Path, **options: bool) -> list[tuple[str, Audio]]:
    return decode_sounds(path, Options(**options), lambda _share: None)  # type: ignore[arg-type]


def level(samples: Samples, start: float, end: float) -> float:
    part = samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
    return float(np.sqrt(np.square(part).mean()))


def likeness(one: Samples, other: Samples) -> float:
    """The correlation of two sounds at the best shift, 0..1."""
    size = 2 * max(len(one), len(other))
    product = np.fft.irfft(np.conj(np.fft.rfft(one, size)) * np.fft.rfft(other, size), size)
    return float(product.max() / np.sqrt(np.square(one).sum() * np.square(other).sum()))


@pytest.mark.parametrize("extension", ["mp4", "mkv", "mov", "webm", "ts", "mpeg", "ogv"])
def test_sound_that_starts_late_in_a_video_keeps_its_time(
    diane: Path, tmp_path: Path, extension: str
) -> None:
    codecs = {
        "webm": ["-c:v", "libvpx", "-deadline", "realtime"],
        "mpeg": ["-c:v", "mpeg1video"],
        "ogv": ["-c:v", "libtheora", "-c:a", "libvorbis"],
    }
    codec = codecs.get(extension, ["-c:v", "mpeg4"])
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=8"]
    late = ["-itsoffset", "4", "-i", str(diane)]
    video = ffmpeg(tmp_path / f"a.{extension}", *picture, *late, "-map", "0:v", "-map", "1:a", *codec)
    samples = decode(video).samples
    assert level(samples, 0.0, 3.8) < 0.001
    assert level(samples, 4.2, 6.8) > 0.01


def test_a_gap_between_packets_is_silence(diane: Path, tmp_path: Path) -> None:
    gap = "asetpts='PTS+if(gte(T,1.5),5/TB,0)'"
    video = ffmpeg(tmp_path / "a.mkv", "-i", str(diane), "-af", gap, "-c:a", "pcm_s16le")
    samples = decode(video).samples
    assert len(samples) / SAMPLE_RATE == pytest.approx(8.0, abs=0.2)
    assert level(samples, 2.0, 6.0) < 0.001


def two_tracks(target: Path, one: Path, other: Path, *options: str) -> Path:
    return ffmpeg(target, "-i", str(one), "-i", str(other), "-map", "0:a", "-map", "1:a", *options)


def test_a_silent_first_track_is_passed_over(diane: Path, tmp_path: Path) -> None:
    silent = write_wav(tmp_path / "silent.wav", np.zeros(3 * SAMPLE_RATE, dtype=np.float32))
    ((label, audio),) = sounds(two_tracks(tmp_path / "a.mp4", silent, diane))
    assert label == ""
    assert level(audio.samples, 0.5, 2.5) > 0.01


def test_tracks_with_two_people_are_both_recognised(
    engine: Engine, diane: Path, chicago: Path, tmp_path: Path
) -> None:
    video = two_tracks(tmp_path / "a.mp4", diane, chicago)
    transcript = recognise(engine, video, Options(language="en"))
    said = {
        speaker: " ".join(each.text for each in transcript.segments if each.speaker == speaker)
        for speaker in ("1", "2")
    }
    assert "Jersey" in said["1"]
    assert "Chicago" in said["2"]
    assert transcript.engine["tracks"] == 2


def test_the_default_track_alone_names_what_is_left_out(
    engine: Engine, diane: Path, chicago: Path, tmp_path: Path
) -> None:
    default = ["-disposition:a:0", "0", "-disposition:a:1", "default"]
    video = two_tracks(tmp_path / "a.mkv", diane, chicago, *default)
    transcript = recognise(engine, video, Options(language="en", all_tracks=False))
    assert "Chicago" in transcript.text
    assert "Jersey" not in transcript.text
    assert transcript.flags == ["tracks_left_out"]


def test_tracks_with_the_same_sound_count_once(diane: Path, tmp_path: Path) -> None:
    assert len(sounds(two_tracks(tmp_path / "a.mkv", diane, diane))) == 1


def test_stereo_in_opposite_phase_does_not_cancel(tmp_path: Path) -> None:
    speech = load_sample()[DIANE]
    path = write_wav(tmp_path / "a.wav", np.stack([speech, -speech], axis=1))
    assert likeness(decode(path).samples, speech) > 0.98


def test_one_party_in_opposite_phase_is_kept_beside_the_other(tmp_path: Path) -> None:
    one, other = load_sample()[DIANE], load_sample()[CHICAGO]
    sound = np.concatenate([np.stack([one, one], axis=1), np.stack([other, -other], axis=1)])
    samples = decode(write_wav(tmp_path / "a.wav", sound)).samples
    assert likeness(samples[: len(one)], one) > 0.98
    assert likeness(samples[len(one) :], other) > 0.98


def test_the_dialogue_of_surround_sound_is_louder_than_what_surrounds_it(tmp_path: Path) -> None:
    speech = load_sample()[DIANE]
    noise = np.random.default_rng(7).normal(0, 1, (len(speech), 4)).astype(np.float32)
    noise *= np.sqrt(np.square(speech).mean())
    quiet = np.zeros_like(speech)
    sound = np.stack([noise[:, 0], noise[:, 1], speech, quiet, noise[:, 2], noise[:, 3]], axis=1)
    raw = tmp_path / "raw.f32"
    raw.write_bytes((sound * 0.5).astype("<f4").tobytes())
    path = ffmpeg(
        tmp_path / "a.flac", "-f", "f32le", "-ar", "16000", "-ch_layout", "5.1(side)", "-i", str(raw)
    )
    assert likeness(decode(path).samples, speech) > 0.7


def test_every_link_of_a_chained_ogg_is_decoded(diane: Path, chicago: Path, tmp_path: Path) -> None:
    opus = ["-c:a", "libopus", "-b:a", "32k"]
    mono = ffmpeg(tmp_path / "mono.opus", "-i", str(diane), *opus)
    stereo = ffmpeg(tmp_path / "stereo.opus", "-i", str(chicago), "-ac", "2", *opus)
    path = tmp_path / "chain.opus"
    path.write_bytes(mono.read_bytes() + stereo.read_bytes() + mono.read_bytes())
    audio = decode(path)
    assert audio.duration == pytest.approx(10_000, abs=100)
    assert not audio.truncated
    assert level(audio.samples, 3.2, 6.5) > 0.01
    assert level(audio.samples, 7.5, 9.5) > 0.01


@pytest.mark.parametrize("size", PLACEHOLDERS)
def test_a_wave_file_written_to_a_pipe_is_whole(diane: Path, tmp_path: Path, size: int) -> None:
    content = bytearray(diane.read_bytes())
    content[4:8] = struct.pack("<I", size or 0)
    content[40:44] = struct.pack("<I", size)
    path = tmp_path / "pipe.wav"
    path.write_bytes(bytes(content))
    audio = decode(path)
    assert audio.duration == 3000
    assert not audio.truncated


def test_a_wave_file_that_is_cut_names_how_much_is_missing(
    engine: Engine, diane: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(diane.read_bytes()[: 44 + 2 * 2 * SAMPLE_RATE])
    transcript = recognise(engine, path, Options(language="en"))
    assert "truncated" in transcript.flags
    assert transcript.missing_duration == 1000


def test_a_recording_of_another_kind_that_is_cut_names_it_too(diane: Path, tmp_path: Path) -> None:
    whole = ffmpeg(tmp_path / "a.flac", "-i", str(diane)).read_bytes()
    path = tmp_path / "cut.flac"
    path.write_bytes(whole[: len(whole) // 2])
    audio = decode(path)
    assert audio.truncated
    assert audio.missing == pytest.approx(3000 - audio.duration, abs=10)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    path = ffmpeg(tmp_path / "a.mp4", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1")
    with pytest.raises(NoAudioStream):
        decode(path)


@pytest.mark.parametrize("delay", [0.001, 0.02])
@pytest.mark.parametrize("decibels", [-15, -25, -30])
def test_crosstalk_is_muted_on_the_channel_that_picks_it_up(
    tmp_path: Path, delay: float, decibels: int
) -> None:
    one, other = load_sample()[DIANE], load_sample()[CHICAGO]
    sound = np.zeros((len(one) + len(other), 2), dtype=np.float32)
    sound[: len(one), 0] = one
    sound[len(one) :, 1] = other
    shift, gain = round(delay * SAMPLE_RATE), 10 ** (decibels / 20)
    mixed = sound.copy()
    mixed[shift:, 0] += gain * sound[:-shift, 1]
    mixed[shift:, 1] += gain * sound[:-shift, 0]
    mixed += np.random.default_rng(7).normal(0, 2e-4, mixed.shape).astype(np.float32)
    found = sounds(write_wav(tmp_path / "a.wav", mixed), channels=True)
    assert [label for label, _ in found] == ["1", "2"]
    (_, left), (_, right) = found
    border = len(one) / SAMPLE_RATE
    assert level(right.samples, 0.5, border - 0.6) < 0.1 * gain * level(one, 0.5, border - 0.6)
    assert level(left.samples, border + 0.6, border + 3.0) < 0.1 * gain * level(other, 0.6, 3.0)
    assert level(left.samples, 0.5, border - 0.5) == pytest.approx(level(one, 0.5, border - 0.5), rel=0.1)


def test_one_conversation_on_both_channels_is_one_track(tmp_path: Path) -> None:
    speech = load_sample()[: 20 * SAMPLE_RATE]
    delayed = 0.6 * np.concatenate([np.zeros(80, dtype=np.float32), speech[:-80]])
    noise = np.random.default_rng(7).normal(0, 1e-3, (len(speech), 2)).astype(np.float32)
    path = write_wav(tmp_path / "a.wav", np.stack([speech, delayed], axis=1) + noise)
    assert len(sounds(path, channels=True)) == 1


def test_a_stream_is_read_from_its_description() -> None:
    log = (
        "Input #0, matroska,webm, from 'file:a: Audio: b.mkv':\n"
        "  Duration: 01:02:03.50, start: 0.000000, bitrate: 66 kb/s\n"
        "  Stream #0:0(eng): Video: h264, yuv420p, 64x48, 10 fps (default)\n"
        "  Stream #0:1[0x2](kor): Audio: aac (LC), 48000 Hz, 5.1(side), fltp\n"
        "  Stream #0:2: Audio: none, 0 channels\n"
        "  Stream #0:3: Audio: opus, 48000 Hz, stereo, fltp (default)\n"
    )
    found = describe(log)
    assert found is not None
    assert (found.duration, found.has_video) == (3_723_500, True)
    assert [(each.channels, each.is_default, each.is_decodable) for each in found.audio] == [
        (6, False, True),
        (0, False, False),
        (2, True, True),
    ]


def test_messages_are_read_in_linear_time() -> None:
    hostile = ("Stream #0:0 " + ": Audio " * 20_000 + "\n") * 5 + " " * 1_000_000 + "\n" * 200_000
    assert describe(hostile) is None
    assert not is_cut_short(hostile)
    assert is_cut_short(hostile + "[in#0] Error during demuxing: Invalid argument\n")
