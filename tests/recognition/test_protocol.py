"""Messages between workers and the engine process, on real sockets."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from batches.recognition.runtime.protocol import Channel, ChannelClosed
from batches.recognition.runtime.recordings import Recording


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """Connected sockets of a worker and an engine."""
    worker, engine = socket.socketpair()
    channels = (
        Channel(worker, takes_descriptors=False, send_seconds=1),
        Channel(engine, takes_descriptors=True, send_seconds=1),
    )
    yield channels
    for channel in channels:
        channel.close()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_transcript_of_many_megabytes_arrives_whole(ends: tuple[Channel, Channel]) -> None:
    worker, engine = ends
    content = {"id": 1, "text": "안녕 " * 2_000_000}
    sender = threading.Thread(target=engine.send, args=(content,))
    sender.start()
    message = worker.receive(20)
    sender.join()
    assert message is not None
    assert message.content == content


def test_samples_travel_as_descriptors_and_are_mapped(ends: tuple[Channel, Channel]) -> None:
    worker, engine = ends
    samples = np.linspace(-1, 1, 16_000, dtype="<f4")
    with tempfile.TemporaryFile() as sound:
        sound.write(samples.tobytes())
        sound.flush()
        for number in range(3):
            content = {"id": number, "sounds": [{"label": str(number), "truncated": number == 1}]}
            worker.send(content, [sound.fileno()])
        before = open_descriptors()
        for number in range(3):
            message = engine.receive(5)
            assert message is not None
            recording = Recording.received(message.content, message.descriptors)
            message.close()
            ((label, audio),) = recording.sounds
            assert (label, audio.truncated) == (str(number), number == 1)
            assert np.array_equal(audio.samples, samples)
            audio.samples[0] = 0.5  # a private page: the client's file stays
        assert os.pread(sound.fileno(), 4, 0) == samples[:1].tobytes()
        del recording, audio
        assert open_descriptors() <= before


@pytest.mark.parametrize("size", [0, 3])
def test_a_sound_that_holds_no_whole_sample_is_refused(size: int) -> None:
    with tempfile.TemporaryFile() as sound:
        sound.truncate(size)
        with pytest.raises(ValueError, match="whole samples"):
            Recording.received({"sounds": [{"label": "", "truncated": False}]}, [sound.fileno()])


def test_a_worker_takes_no_descriptors_from_the_engine(ends: tuple[Channel, Channel]) -> None:
    worker, engine = ends
    before = open_descriptors()
    with tempfile.TemporaryFile() as file:
        engine.send({"id": 1}, [file.fileno()])
        with pytest.raises(ChannelClosed):
            worker.receive(5)
    assert open_descriptors() == before


def test_a_receiver_that_does_not_read_holds_a_sender_up_for_a_set_time_only(
    ends: tuple[Channel, Channel],
) -> None:
    _worker, engine = ends
    began = time.monotonic()
    with pytest.raises(ChannelClosed, match="does not read"):
        engine.send({"id": 1, "text": "x" * 10_000_000})
    assert 0.9 < time.monotonic() - began < 10


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff\xff\xff\xff\x00",  # longer than any message
        b"\x00\x00\x00\x02\x01{}",  # a descriptor that did not come
        b"\x00\x00\x00\x02\x00[]",  # no object
        b"\x00\x00\x00\x03\x00{]}",  # no JSON
        b"\x00\x00\x00\x09\x00{",  # cut off
    ],
)
def test_what_is_no_message_closes_the_channel(sent: bytes) -> None:
    theirs, ours = socket.socketpair()
    channel = Channel(ours, takes_descriptors=True)
    theirs.sendall(sent)
    theirs.close()
    with pytest.raises(ChannelClosed):
        channel.receive(5)
    channel.close()
