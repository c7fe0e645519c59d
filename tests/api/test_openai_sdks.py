"""OpenAI's official SDKs, and curl as other programs call it, against the portal under gunicorn."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from batches.models import Batch, Task
from tests.api.client import Api
from tests.api.conftest import MakeApi
from tests.api.portal_server import serving
from tests.api.work import worker
from tests.factories import make_account, make_batch, make_user
from tests.programs import required

NODE = """
import OpenAI from "openai";
import fs from "node:fs";
const client = new OpenAI({ baseURL: process.env.BASE + "/v1", apiKey: process.env.KEY, maxRetries: 0 });
const file = () => fs.createReadStream(process.env.FILE);
const seen = {};
seen.models = (await client.models.list()).data.map((model) => model.id);
seen.text = (await client.audio.transcriptions.create({ file: file(), model: "whisper-1" })).text;
seen.words = (await client.audio.transcriptions.create({
  file: file(), model: "whisper-1", response_format: "verbose_json", timestamp_granularities: ["segment"],
})).segments.length;
seen.events = [];
const wanted = { file: file(), model: "gpt-4o-transcribe", stream: true };
const stream = await client.audio.transcriptions.create(wanted);
for await (const event of stream) seen.events.push(event.type);
try {
  await client.audio.transcriptions.create({ file: file(), model: "none" });
} catch (error) {
  seen.error = [error.status, error.code];
}
console.log(JSON.stringify(seen));
"""


@pytest.fixture
def api(transactional_db: None, make_api: MakeApi) -> Api:
    user = make_user()
    return make_api(make_account(owner=user), user)


@pytest.fixture
def batch(api: Api) -> Batch:
    return make_batch(api.account)


@pytest.fixture
def portal(batch: Batch, tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as url, worker(batch):
        yield url


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "회의.mp3"
    path.write_bytes(b"sound")
    return path


def test_the_python_sdk(portal: str, api: Api, batch: Batch, recording: Path) -> None:
    client = OpenAI(base_url=f"{portal}/v1", api_key=api.plain, project=batch.uid, max_retries=0)
    assert "base" in [model.id for model in client.models.list()]
    create = client.audio.transcriptions.create
    plain = create(model="whisper-1", file=recording, language="ko", prompt="Ryzen", temperature=0.0)
    assert plain.text.endswith("/회의.mp3.")
    text = create(model="base", file=recording, response_format="text")
    assert str(text).strip() == Task.unscoped.latest("pk").name.join(["Heard in ", "."])
    verbose = create(
        model="whisper-1",
        file=recording,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (verbose.language, verbose.duration, len(verbose.segments or [])) == ("korean", 1.5, 1)
    assert verbose.words == []
    subtitles = create(model="whisper-1", file=recording, response_format="srt")
    assert "00:00:00,000 --> " in str(subtitles)
    diarized = create(
        model="gpt-4o-transcribe-diarize",
        file=recording,
        response_format="diarized_json",
        chunking_strategy="auto",
        extra_body={"known_speaker_names": ["Ada"]},
    )
    assert [segment.speaker for segment in diarized.segments] == ["A"]
    with create(model="gpt-4o-transcribe", file=recording, stream=True) as stream:
        kinds = [event.type for event in stream]
    assert kinds == ["transcript.text.delta", "transcript.text.done"]
    assert Task.unscoped.count() == 6


def test_the_python_sdk_raises_what_it_should(portal: str, api: Api, tmp_path: Path, recording: Path) -> None:
    client = OpenAI(base_url=f"{portal}/v1", api_key=api.plain, max_retries=2)
    create = client.audio.transcriptions.create
    with pytest.raises(openai.NotFoundError, match="not offered"):
        create(model="none", file=recording)
    with pytest.raises(openai.BadRequestError, match="language"):
        create(model="whisper-1", file=recording, language="tlh")
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"no sound")
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="whisper-1", file=bad)
    assert caught.value.code == "not_media"
    with pytest.raises(openai.APIError), create(model="gpt-4o-transcribe", file=bad, stream=True) as stream:
        list(stream)
    with pytest.raises(openai.AuthenticationError):
        OpenAI(base_url=f"{portal}/v1", api_key="sk-none", max_retries=0).models.list()
    assert Task.unscoped.count() == 2


def test_langchains_loader(portal: str, api: Api, recording: Path) -> None:
    """``OpenAIWhisperParser`` of langchain-community 0.4 calls the SDK like this for each chunk."""
    client = OpenAI(api_key=api.plain, base_url=f"{portal}/v1", max_retries=0)
    options: list[dict[str, Any]] = [{}, {"language": "ko", "prompt": "Ryzen", "temperature": 0.0}]
    for number, chosen in enumerate(options):
        chunk = io.BytesIO(recording.read_bytes())
        chunk.name = f"{recording}_part_{number}.mp3" if number else f"part_{number}.mp3"
        transcript = client.audio.transcriptions.create(model="whisper-1", file=chunk, **chosen)
        assert transcript.text.endswith(f"{Path(chunk.name).name}.")


@pytest.mark.programs
def test_n8n_sends_every_option_with_its_default(portal: str, api: Api, recording: Path) -> None:
    command = [required("curl"), "--silent", "--show-error", f"{portal}/v1/audio/transcriptions"]
    command += ["--header", f"authorization: Bearer {api.plain}"]
    command += ["--form", "model=whisper-1", "--form", "temperature=0", "--form", "language="]
    command += ["--form", f"file=@{recording};filename=data.mp3;type=audio/mpeg"]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert answer["text"].endswith("/data.mp3.")


@pytest.mark.programs
def test_curl_as_other_programs_call_it(portal: str, api: Api, recording: Path) -> None:
    """Open WebUI sends the file and the model, PBXs also a response format and a language."""
    command = [required("curl"), "--silent", "--show-error", f"{portal}/v1/audio/transcriptions"]
    command += ["--header", f"Authorization: Bearer {api.plain}"]
    command += ["--form", f"file=@{recording};type=audio/mpeg", "--form", "model=whisper-1"]
    usual = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(usual.stdout)["text"].endswith("/회의.mp3.")
    command += ["--form", "response_format=text", "--form", "language=ko"]
    command += ["--header", "Transfer-Encoding: chunked", "--header", "Expect:"]
    text = subprocess.run(command, check=True, capture_output=True, text=True)
    assert text.stdout.startswith("Heard in openai/")


@pytest.mark.programs
def test_the_node_sdk(portal: str, api: Api, tmp_path: Path, recording: Path) -> None:
    npm, node = required("npm"), required("node")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), "openai@6"]
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    script = tmp_path / "try.mjs"
    script.write_text(NODE)
    environ = {"BASE": portal, "KEY": api.plain, "FILE": str(recording), "PATH": str(Path(node).parent)}
    done = subprocess.run(
        [node, str(script)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert "base" in seen["models"]
    assert seen["text"].endswith("/회의.mp3.")
    assert seen["words"] == 1
    assert seen["events"] == ["transcript.text.delta", "transcript.text.done"]
    assert seen["error"] == [404, "model_not_found"]
