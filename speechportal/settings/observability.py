"""Logs, metrics, error reports, readiness checks and the generated parts of the help pages."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from speechportal.settings.installation import env

DEFAULT_EXCEPTION_REPORTER_FILTER = "speechportal.platform.error_reports.ReportFilter"
env.section = "observability"
METRICS_TOKEN = env.text(
    "METRICS_TOKEN",
    description=_("The bearer token that may read `/metrics`; without one, only this machine may."),
)
SENTRY_DSN = env.text(
    "SENTRY_DSN",
    description=_(
        "Where errors are reported (install the extra `sentry`): message, exception, source lines and IDs; no"
        " request, variables or secrets."
    ),
)
OTLP_ENDPOINT = env.text(
    "OTLP_ENDPOINT",
    description=_(
        "Where traces of tasks are sent (install the extra `otel`), such as `http://collector:4318`: OTLP"
        " over HTTP, with IDs, times and sizes, without file names or texts."
    ),
)
LOG_FORMAT = env.choice(
    "LOG_FORMAT",
    "line",
    ("line", "json"),
    description=_("`json` writes one object per line, with the IDs of request, account, batch and task."),
)
LOG_LEVEL = env.choice(
    "LOG_LEVEL",
    "INFO",
    ("DEBUG", "INFO", "WARNING", "ERROR"),
    description=_("The least severe messages that are logged."),
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "speechportal.platform.logs.LineFormatter",
            "format": "{asctime} {levelname} {name} {message}",
            "style": "{",
        },
        "json": {"()": "speechportal.platform.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "speechportal": {"level": LOG_LEVEL},
        "batches": {"level": LOG_LEVEL},
        "domains": {"level": LOG_LEVEL},
        "django-q": {"level": "WARNING"},
    },
}

# Readiness checks of /readyz, after the database: callables that return the name of a problem, or nothing.
READINESS = ["batches.operations.health.sandbox_problem", "batches.operations.health.web_problem"]
# Warnings of /readyz: callables like these, for degraded parts. The portal is ready nevertheless.
READINESS_WARNINGS = [
    "batches.operations.health.models_warning",
    "batches.operations.health.pause_warning",
]
# State of each role in /readyz: a callable that returns its problem by the role's name.
READINESS_ROLES = "batches.operations.health.role_problems"


# Generated parts of the help pages: functions by the name of their block.
HELP_BLOCKS = {
    "settings": "speechportal.help.blocks.settings_reference",
    "formats": "batches.web.help_blocks.formats_table",
    "media_endings": "batches.web.help_blocks.media_endings",
    "failures": "batches.web.help_blocks.failures",
    "languages": "batches.web.help_blocks.languages",
    "scopes": "batches.web.help_blocks.scopes",
    "events": "batches.web.help_blocks.events",
    "providers": "batches.web.help_blocks.providers",
}
HELP_FORMATS = {
    "names": "batches.web.help_blocks.format_names",
    "values": "batches.web.help_blocks.format_values",
}
