"""Engine processes of this machine, configured from the settings.

The recognition cluster's main process owns the engine processes (:class:`ClusterEngines`); its workers are
forked with their endpoints. A process outside the cluster that recognises files starts a pool of its own.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connections

from batches.recognition.models.memory import MIB
from batches.recognition.models.store import is_path
from batches.recognition.runtime import gpu_probe
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.runtime.link import Limits
from batches.recognition.runtime.oom_kills import KERNEL_KILL, OomWatch
from batches.recognition.runtime.pool import Endpoint, EngineConfig, EnginePool
from batches.tasks import fleet, model_hosts
from batches.worker import host_faults, work_folder
from speechportal.platform import tracing

logger = logging.getLogger(__name__)
AUTO, CPU, CUDA = "auto", "cpu", "cuda"
FILES_AT_ONCE = {CPU: 2, CUDA: 16}  # defaults
REPORT_SECONDS = 15.0  # interval between reports of the models that this host serves
_endpoints: Sequence[Endpoint] = ()  # of the cluster's engines; workers inherit them
_client: RecognitionClient | None = None


def config(
    *,
    models_dir: Path | None = None,
    whisper_model: str = "",
    speaker_model: str = "",
    engine: str = "",
    threads: int = 0,
    preload: bool = False,
) -> EngineConfig:
    """Configuration of an engine process from the settings; non-empty arguments take precedence."""
    names = (whisper_model or settings.WHISPER_MODELS[0], speaker_model or settings.SPEAKER_MODELS[0])
    offered = (*names, *settings.WHISPER_MODELS, *settings.SPEAKER_MODELS)
    return EngineConfig(
        models_dir=models_dir or settings.MODELS_DIR,
        whisper_model=names[0],
        speaker_model=names[1],
        threads=threads or settings.RECOGNITION_THREADS,
        engine=engine or settings.RECOGNITION_ENGINE,
        memory_limit_bytes=settings.RECOGNITION_MEMORY_MB * MIB,
        gpu_memory_bytes=settings.GPU_MEMORY_MB * MIB,
        trusted_pipelines=tuple(settings.TRUSTED_PIPELINES),
        preload=preload,
        readable=tuple(dict.fromkeys(Path(name) for name in offered if is_path(name))),
    )


def devices(wanted: str = "") -> list[str]:
    """One device for each engine process: the graphics cards, or the CPU once per recognition worker.

    ``wanted`` is as the setting RECOGNITION_DEVICE: "auto", "cpu", "cuda" (every card), "cuda:1", or
    several with commas.
    """
    wanted = wanted or settings.RECOGNITION_DEVICE
    if wanted == AUTO:
        wanted = CUDA if _usable_cards() else CPU
    if wanted == CPU:
        return [CPU] * settings.RECOGNITION_WORKERS
    if wanted == CUDA:
        # Without a GPU the engine reports the error.
        return [f"{CUDA}:{number}" for number in _usable_cards()] or [CUDA]
    return [name for part in wanted.split(",") if (name := part.strip())]


def files_at_once(device: str) -> int:
    """Number of files that one engine on this device processes at once."""
    default = FILES_AT_ONCE[CPU if device == CPU else CUDA]
    return int(settings.FILES_AT_ONCE or default)


def _usable_cards() -> list[int]:
    """Numbers of the GPUs that torch can use. Found in a child process, to keep torch out of this one."""
    return [card.number for card in gpu_probe.ask().usable_cards] if gpu_probe.driver_is_loaded() else []


def _devices_now(found: Sequence[str]) -> list[fleet.Device]:
    """Devices of this machine's engines, with the GPU utilisation reported by the driver."""
    cards = {f"{CUDA}:{card.number}": card for card in gpu_probe.usage()} if found[0] != CPU else {}
    if not cards:
        return [
            fleet.Device(name, f"{len(found)} × CPU" if name == CPU else "") for name in dict.fromkeys(found)
        ]
    return [
        fleet.Device(name, card.name, card.total, card.used, card.load)
        if (card := cards.get(name if ":" in name else f"{CUDA}:0"))
        else fleet.Device(name)
        for name in found
    ]


def limits() -> Limits:
    return Limits(stall=float(settings.STALL_SECONDS))


class ClusterEngines:
    """Engine processes owned by the recognition cluster's main process, which calls :meth:`tick`.

    Made before the workers are forked, so that they inherit the endpoints. ``workers`` is their number: one
    for each file that the engines process at once.
    """

    def __init__(self) -> None:
        global _endpoints
        self._await_work_folder()
        found = devices()
        self._reported_at: float | None = None
        self._devices = found
        self._oom = OomWatch()
        self.workers = len(found) * files_at_once(found[0])
        self._pool = EnginePool(
            # On a CPU, models load with the first file: an idle portal on a laptop uses little memory.
            config(preload=found[0] != CPU),
            devices=found,
            files_at_once=files_at_once(found[0]),
            scratch=work_folder.engines_folder(),
        )
        _endpoints = self._pool.endpoints

    def tick(self) -> None:
        """Restart engine processes that ended; report this host's models every few seconds."""
        self._pool.tick()
        now = time.monotonic()
        if self._reported_at is None or now - self._reported_at > REPORT_SECONDS:
            started, self._reported_at = self._reported_at is None, now
            try:
                model_hosts.report(started=started, fault=host_faults.find())
                self._report_host(started=started)
            finally:
                connections.close_all()

    def _report_host(self, *, started: bool) -> None:
        restarts = [fleet.Restart(end["at"], end["device"], end["reason"]) for end in self._pool.ends]
        restarts += self._killed_workers(restarts)
        fleet.report(_devices_now(self._devices), workers=self.workers, restarts=restarts, started=started)

    def _killed_workers(self, ends: Iterable[fleet.Restart]) -> list[fleet.Restart]:
        """Ends of workers for want of memory, which only the kernel's counter shows."""
        now = datetime.now(UTC)
        lately = (now - timedelta(seconds=2 * REPORT_SECONDS)).isoformat()
        of_engines = any(end.why == KERNEL_KILL and end.at > lately for end in ends)
        if not self._oom.look() or of_engines:
            return []
        return [fleet.Restart(now.isoformat(timespec="seconds"), "worker", KERNEL_KILL)]

    @staticmethod
    def _await_work_folder() -> None:
        """Wait until the work folder is writable; until then report the fault."""
        while work_folder.problem():
            fault = host_faults.find()
            logger.error("no worker started: %s", fault.detail if fault else "")
            try:
                model_hosts.report(started=True, fault=fault)
            except DatabaseError:
                logger.exception("a fault of this machine could not be reported")
            finally:
                connections.close_all()
            time.sleep(REPORT_SECONDS)

    def close(self) -> None:
        self._pool.close()


def _trace_decoding(begun: float) -> None:
    tracing.record("decode", tracing.current(), begun)


def worker_client() -> RecognitionClient:
    """Recognition client of this process for the cluster's engines, kept between tasks.

    Outside a cluster, for example in a test that runs a job itself, the process starts its own engine.
    """
    global _client
    if _client is None:
        endpoints = _endpoints
        if not endpoints:
            device = devices()[0]
            pool = EnginePool(
                config(), devices=[device], files_at_once=1, scratch=work_folder.engines_folder()
            )
            stack = ExitStack()
            endpoints = stack.enter_context(pool.running())
            atexit.register(stack.close)
        _client = RecognitionClient(endpoints, limits=limits(), on_decoded=_trace_decoding)
    return _client
