"""System checks of an installation; each has an id and a hint."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import imageio_ffmpeg
from cryptography.fernet import Fernet
from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

from speechportal.platform import sentry, tracing


def check_encryption_keys(
    app_configs: Sequence[AppConfig] | None, **_kwargs: Any
) -> list[checks.CheckMessage]:
    for key in settings.ENCRYPTION_KEYS or [""]:
        try:
            Fernet(key)
        except ValueError:
            return [
                checks.Error(
                    "SPEECHPORTAL_ENCRYPTION_KEYS holds a key that is not a Fernet key.",
                    hint="Create one with: python -c 'from cryptography.fernet import Fernet;"
                    " print(Fernet.generate_key().decode())' and set SPEECHPORTAL_ENCRYPTION_KEYS.",
                    id="speechportal.E001",
                )
            ]
    return []


def check_queue(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    recognition = settings.Q_CLUSTER["ALT_CLUSTERS"]["recognition"]
    problems: list[checks.CheckMessage] = [
        checks.Error(
            f"The queue cluster {name} retries messages before their timeout.",
            hint="Set `retry` well above `timeout` in Q_CLUSTER.",
            id="speechportal.E002",
        )
        for name, cluster in (("short and deliveries", settings.Q_CLUSTER), ("recognition", recognition))
        if cluster["retry"] <= cluster["timeout"]
    ]
    if recognition["timeout"] < settings.MAX_MEDIA_SECONDS:
        problems.append(
            checks.Warning(
                "The recognition cluster's timeout is shorter than the longest media file that is accepted.",
                hint="Raise `timeout` of the recognition cluster or lower SPEECHPORTAL_MAX_MEDIA_SECONDS.",
                id="speechportal.W001",
            )
        )
    return problems


def check_ffmpeg(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    try:
        imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        return [
            checks.Error(
                "ffmpeg was not found; no media can be decoded.",
                hint="Install the package imageio-ffmpeg from a wheel for this platform.",
                id="speechportal.E003",
            )
        ]
    return []


def check_local_roots(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    return [
        checks.Error(
            f"The local storage root {root} contains the portal's data folder.",
            hint="Members could read the database. Set SPEECHPORTAL_STORAGE_LOCAL_ROOTS to another folder.",
            id="speechportal.E004",
        )
        for root in settings.STORAGE_LOCAL_ROOTS
        if root == settings.DATA_DIR or settings.DATA_DIR.is_relative_to(root)
    ]


def check_webhook_lease(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    if settings.WEBHOOK_LEASE_SECONDS >= 3 * settings.WEBHOOK_TIMEOUT_SECONDS:
        return []
    return [
        checks.Error(
            "A delivery's lease may end while its receiver still has time to answer.",
            hint="Set SPEECHPORTAL_WEBHOOK_LEASE_SECONDS to at least three times"
            " SPEECHPORTAL_WEBHOOK_TIMEOUT_SECONDS; otherwise messages may be sent twice.",
            id="speechportal.E005",
        )
    ]


def check_sentry(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    if not (problem := sentry.problem()):
        return []
    hint = 'Install it with: pip install "speechportal[sentry]", or see the DSN in your project at Sentry.'
    return [checks.Error(problem, hint=hint, id="speechportal.E006")]


def check_tracing(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    if not (problem := tracing.problem()):
        return []
    hint = 'Install it with: pip install "speechportal[otel]". The address is http(s)://HOST:PORT.'
    return [checks.Error(problem, hint=hint, id="speechportal.E012")]


def check_redis(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    if not settings.REDIS_URL or importlib.util.find_spec("redis") is not None:
        return []
    return [
        checks.Error(
            "SPEECHPORTAL_REDIS_URL is set, and the package redis is not installed.",
            hint='Install it with: pip install "speechportal[redis]".',
            id="speechportal.E013",
        )
    ]


def check_file_names(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    encoding = sys.getfilesystemencoding()
    if encoding == "utf-8":
        return []
    return [
        checks.Error(
            f"Names of files are read as {encoding}, not as UTF-8: those in Korean would be damaged.",
            hint="Set LANG=C.UTF-8, or PYTHONUTF8=1, for the portal.",
            id="speechportal.E014",
        )
    ]


def check_variables(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """Variables that look like settings and are none, most likely misspelt."""
    from speechportal.settings import env

    return [
        checks.Warning(
            f"{name} is no setting of the portal.",
            hint=f"Is {nearest} meant?" if nearest else "Remove it, or see the help page Settings.",
            id="speechportal.W002",
        )
        for name, nearest in env.unknown()
    ]


def check_debug(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    if not (settings.PRODUCTION and settings.DEBUG_ASKED_FOR):
        return []
    return [
        checks.Warning(
            "SPEECHPORTAL_DEBUG is set in production, where it is ignored.",
            hint="Remove it; errors are in the log.",
            id="speechportal.W003",
        )
    ]


def check_https(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """The portal itself speaks HTTP: without a trusted header it redirects to HTTPS for ever."""
    if not settings.HTTPS or settings.BEHIND_PROXY:
        return []
    return [
        checks.Warning(
            "HTTPS is required, and no proxy is trusted to say that a request came by it.",
            hint="Set SPEECHPORTAL_BEHIND_PROXY=true behind a proxy that sets X-Forwarded-Proto and"
            " X-Forwarded-For; otherwise every request is redirected to itself.",
            id="speechportal.W004",
        )
    ]


def check_recognition_engine(
    app_configs: Sequence[AppConfig] | None, **_kwargs: Any
) -> list[checks.CheckMessage]:
    names = import_string(settings.RECOGNITION_ENGINES)()
    if settings.RECOGNITION_ENGINE in names:
        return []
    return [
        checks.Error(
            f"There is no recognition engine {settings.RECOGNITION_ENGINE!r}.",
            hint=f"Set SPEECHPORTAL_RECOGNITION_ENGINE to one of: {', '.join(names)}.",
            id="speechportal.E007",
        )
    ]


def register_all() -> None:
    for check in (
        check_encryption_keys,
        check_queue,
        check_ffmpeg,
        check_local_roots,
        check_webhook_lease,
        check_sentry,
        check_tracing,
        check_redis,
        check_file_names,
        check_variables,
        check_debug,
        check_https,
        check_recognition_engine,
    ):
        checks.register(check)
