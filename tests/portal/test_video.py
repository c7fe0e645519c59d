"""Video: it plays beside its transcript, and seeks to the word that is clicked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from playwright.sync_api import Page, expect

from batches.models import StoredTranscript
from tests.factories import make_task
from tests.portal.scene import World, make_document

pytestmark = pytest.mark.django_db(transaction=True)


def make_film(path: Path, seconds: int) -> None:
    """Create a small video: moving colours and a tone."""
    inputs = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=10", "-f", "lavfi", "-i", "sine=frequency=440")
    output = ("-t", str(seconds), "-pix_fmt", "yuv420p", "-c:v", "libx264", "-c:a", "aac")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *inputs, *output]
    subprocess.run([*command, "-movflags", "+faststart", str(path)], check=True)


def test_video_plays_as_video(world: World, page: Page) -> None:
    task = make_task(
        world.batch, "lecture.mp4", state="completed", moved_key="in/calls/lecture.mp4", media_duration=4000
    )
    task.moved_at = task.finished_at
    task.save()
    StoredTranscript.unscoped.create(task=task, stage="speakers", document=make_document().to_dict())
    make_film(world.folder / "in" / "calls" / "lecture.mp4", 4)
    page.goto(world.url(f"{world.batch_path}tasks/{task.uid}/"))
    page.wait_for_function("() => document.querySelector('video').readyState >= 2")
    video = page.locator("video")
    assert video.evaluate("film => [film.videoWidth, film.videoHeight]") == [160, 120]
    expect(video).to_be_in_viewport()
    expect(page.locator("[data-unplayable]")).to_be_hidden()
    page.get_by_text("arrived", exact=True).click()
    page.wait_for_function("() => document.querySelector('video').currentTime > 1.7")
    assert video.evaluate("film => film.getVideoPlaybackQuality().totalVideoFrames") > 0
    page.wait_for_selector(".word.now")
