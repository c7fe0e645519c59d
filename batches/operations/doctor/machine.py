"""Checks of this machine: settings, folders, models, programs, GPUs, sandbox, disk space."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core import checks

from batches.operations.doctor.findings import Finding, bad, good, note
from batches.recognition import registry
from batches.recognition.errors import FfmpegUnavailable, ModelUnavailable
from batches.recognition.media import ffmpeg as media_ffmpeg
from batches.recognition.models.catalogue import unknown_name
from batches.recognition.models.dimensions import read_dimensions
from batches.recognition.models.gpu_memory import least_need
from batches.recognition.models.memory import MIB
from batches.recognition.models.store import ModelStore, is_path
from batches.recognition.providers import Provider
from batches.recognition.runtime import gpu_probe, sandbox
from batches.tasks.scheduling import ServedModels
from batches.worker import disk_space, engines, work_folder
from speechportal.platform import processes, temporary_folder

_NAMING = "SPEECHPORTAL_WHISPER_MODELS, _SPEAKER_MODELS or _SERVED_MODELS"
FREE_BYTES = 5 * 1024**3
HANGS = 4.0  # seconds after which ffmpeg does not answer; the doctor has five for all checks


def configuration() -> Iterator[Finding]:
    found = checks.run_checks(include_deployment_checks=settings.PRODUCTION)
    for message in found:
        make = bad if message.level >= checks.ERROR else note
        yield make("settings", str(message.msg), str(message.hint or ""))
    if not found:
        yield good("settings", f"The settings are valid (mode: {settings.MODE}).")


def secret_files() -> Iterator[Finding]:
    """Check that no other user of this machine can read the secrets that the portal made."""
    folder = Path(settings.DATA_DIR) / "secrets"
    if not folder.is_dir():
        return
    exposed = [path.name for path in sorted(folder.iterdir()) if path.stat().st_mode & 0o077]
    if exposed:
        yield bad(
            "settings",
            f"Other users of this machine may read secrets in {folder}: {', '.join(exposed)}.",
            f"Run: chmod 600 {folder}/*",
        )


def static_files() -> Iterator[Finding]:
    """Check the manifest of collectstatic, by which pages find static files in production."""
    if not settings.PRODUCTION:
        return
    if not (Path(settings.STATIC_ROOT) / "staticfiles.json").is_file():
        yield bad("pages", "The static files are not collected.", "Run: manage.py collectstatic --noinput")
        return
    yield good("pages", "The static files are collected.")


def models() -> Iterator[Finding]:
    """Check the files of the models that this machine serves."""
    store = ModelStore(settings.MODELS_DIR)
    served = ServedModels.of_settings()
    if store.folder.exists() and not store.folder.is_dir():
        yield bad("models", f"{store.folder} is not a folder.", "Correct SPEECHPORTAL_MODELS_DIR.")
        return
    for name in sorted(served.whisper | served.speakers):
        remedy = f"Run: manage.py models fetch {name}"
        if is_path(name):
            problems = [] if Path(name).exists() else [f"There is no model at {name}."]
            remedy = f"Copy it there, or correct {_NAMING}."
        elif (provider := registry.bundled_with(name, store)) is not None:
            remedy = f"Run: {provider.missing()}"
            problems = [f"{provider.name} is not installed."] if provider.missing() else []
        else:
            problems = store.verify(name)
            if unknown_name(name) in problems:
                remedy = f"Correct {_NAMING}."
        if not problems and name in served.whisper and (provider := _not_installed(name, store)) is not None:
            remedy = f"Run: {provider.missing()}"
            problems = [f"{provider.name}, which runs {name}, is not installed."]
        if problems:
            yield bad("models", problems[0], remedy)
        else:
            yield good("models", f"{name} is complete.")
    offered = {*settings.WHISPER_MODELS, *settings.SPEAKER_MODELS}
    if unknown := sorted(set(settings.SERVED_MODELS) - offered):
        yield note(
            "models",
            f"SPEECHPORTAL_SERVED_MODELS names {', '.join(unknown)}, which is not offered.",
            "Add it to SPEECHPORTAL_WHISPER_MODELS or SPEECHPORTAL_SPEAKER_MODELS.",
        )


def _not_installed(name: str, store: ModelStore) -> Provider | None:
    """Recogniser that runs a model here, if its packages are missing."""
    try:
        provider = registry.find_recogniser(name, store, settings.RECOGNITION_ENGINE)
    except (ModelUnavailable, ValueError):  # reported by the system check of the engine
        return None
    return provider if provider.missing() else None


def ffmpeg() -> Iterator[Finding]:
    try:
        yield good("ffmpeg", media_ffmpeg.version(media_ffmpeg.program(seconds=HANGS)))
    except FfmpegUnavailable as error:
        yield bad(
            "ffmpeg",
            f"No media can be decoded: {error.message}",
            "Install the package imageio-ffmpeg; if IMAGEIO_FFMPEG_EXE is set, remove or correct it.",
        )


# Parts of the sandbox, each with what it denies to decoders of media files, and its requirements.
SANDBOX = {
    sandbox.NETWORK: ("reach the network", "seccomp, or user namespaces (sysctl user.max_user_namespaces)"),
    sandbox.FILES: ("read files other than the media, models and libraries", "Landlock (Linux 5.13)"),
    sandbox.PROCESSES: (
        "send signals to other processes",
        "seccomp, or Landlock (Linux 6.12)",
    ),
}


def confinement() -> Iterator[Finding]:
    """Check whether the engine process and ffmpeg can be confined as intended."""
    gaps = sandbox.missing()
    for part in gaps:
        effect, need = SANDBOX[part]
        make = note if settings.ACCEPT_SANDBOX_GAPS else bad
        yield make(
            "sandbox",
            f"Processes that read media files can {effect}.",
            f"It takes {need}, also inside a container; or set SPEECHPORTAL_ACCEPT_SANDBOX_GAPS=true.",
        )
    if not gaps:
        yield good("sandbox", "Processes that read media files are confined.")


def folders() -> Iterator[Finding]:
    """Check whether the portal's user can write to its folders."""
    healthy = True
    found = (
        ("data", settings.DATA_DIR, work_folder.problem_of(Path(settings.DATA_DIR))),
        ("work files", settings.WORK_DIR, work_folder.problem()),
    )
    for name, folder, reason in found:
        if reason:
            healthy = False
            yield bad(
                "disk",
                f"The folder for {name}, {folder}, cannot be written: {reason}.",
                "Mount it writable, and give it to the user that the portal runs as.",
            )
    if reason := temporary_folder.problem():
        healthy = False
        yield bad(
            "disk",
            f"The folder for temporary files, {temporary_folder.path()}, cannot be used: {reason}."
            " Polls and uploads fail.",
            "Free disk space there, or name another folder in TMPDIR.",
        )
    if reason := processes.semaphore_problem():
        healthy = False
        yield bad(
            "disk",
            f"Shared memory, /dev/shm, cannot be used: {reason}. No cluster of the queue starts.",
            "Mount a writable tmpfs of 64 MB there.",
        )
    if healthy:
        yield good("disk", "The folders for data and work files can be written.")


def gpu() -> Iterator[Finding]:
    """Check whether recognition can use the GPUs that the settings require."""
    wanted = settings.RECOGNITION_DEVICE
    asked_for = wanted not in (engines.AUTO, engines.CPU)
    if wanted == engines.CPU or not (asked_for or gpu_probe.driver_is_loaded()):
        yield good("gpu", "Recognition runs on the CPU.")
        return
    report = gpu_probe.ask()
    sentence, advice = report.problem()
    if sentence:
        # With the device "auto", recognition falls back to the CPU.
        make = bad if asked_for else note
        yield make("gpu", sentence, advice)
        return
    named = engines.devices(wanted) if asked_for else []
    for card in report.cards:
        if not card.usable:
            sentence, advice = report.build_problem([card])
            make = bad if f"{engines.CUDA}:{card.number}" in named else note
            yield make("gpu", f"Card {card.number} is not used: {sentence}", advice)
            continue
        yield good(
            "gpu",
            f"Card {card.number}: {card.name}, {card.total / 1e9:.0f} GB, {card.free / 1e9:.0f} GB free "
            f"(driver {report.driver or 'unknown'}, CUDA {report.cuda}).",
        )
    yield from _models_on_cards(report)


def _models_on_cards(report: gpu_probe.GpuReport) -> Iterator[Finding]:
    """Check for models that need more memory than the smallest GPU, or the setting, allows."""
    allowed = min(settings.GPU_MEMORY_MB * MIB, *(card.total for card in report.usable_cards))
    store = ModelStore(settings.MODELS_DIR)
    for name in sorted(ServedModels.of_settings().whisper):
        try:
            recogniser = registry.find_recogniser(name, store, settings.RECOGNITION_ENGINE).name
            need = least_need(read_dimensions(store.whisper(name).path), recogniser).total
        except (ModelUnavailable, ValueError):
            continue  # reported by the check of the models, or of the settings
        if need > allowed:
            yield bad(
                "gpu",
                f"{name} needs {need / 1e9:.1f} GB of a card at least; it may take {allowed / 1e9:.1f} GB.",
                "Raise SPEECHPORTAL_GPU_MEMORY_MB, or serve a smaller model on this machine.",
            )


def disk() -> Iterator[Finding]:
    for name, folder in (("data", settings.DATA_DIR), ("work files", settings.WORK_DIR)):
        free = disk_space.free_bytes(Path(folder))
        if folder == settings.WORK_DIR and not disk_space.enough():
            yield bad(
                "disk",
                f"{free / 1024**2:.0f} MiB are free for {name} ({folder}); no task is started here.",
                "Free disk space; the waiting tasks then start by themselves.",
            )
        elif free < FREE_BYTES:
            yield bad("disk", f"{free / 1024**3:.1f} GiB are free for {name} ({folder}).", "Free disk space.")
        else:
            yield good("disk", f"{free / 1024**3:.0f} GiB are free for {name}.")
