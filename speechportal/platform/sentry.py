"""Error reports to Sentry (``SPEECHPORTAL_SENTRY_DSN``): everything that is logged as an error.

An event has the message, the exception with source lines, and the IDs of request, account, batch and task.
Sentry may be a third party's server: no request, variable, query or e-mail address is sent, and secrets are
removed as they are from logs.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from django.conf import settings

from speechportal.platform.logs import GONE, current_ids, without_secrets

# Allow-list of an event's keys: anything else that the SDK adds, now or in a later release, is not sent.
KEPT = {
    "environment",
    "event_id",
    "exception",
    "level",
    "logentry",
    "logger",
    "platform",
    "release",
    "sdk",
    "server_name",
    "timestamp",
}
# Look-behind and bounds keep the time linear: the text may come from an attacker.
_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]{1,254}@[\w-]{1,63}(?:\.[\w-]{1,63})+")


def problem() -> str:
    """Problem of the Sentry settings, for the system check; empty if there is none."""
    if not settings.SENTRY_DSN:
        return ""
    try:
        from sentry_sdk.utils import BadDsn, Dsn
    except ImportError:
        return "SPEECHPORTAL_SENTRY_DSN is set, and sentry-sdk is not installed."
    try:
        Dsn(settings.SENTRY_DSN)
    except (BadDsn, ValueError):
        return "SPEECHPORTAL_SENTRY_DSN is not a DSN."
    return ""


def start() -> None:
    """Start reporting errors if the setting is valid; the system check ``check_sentry`` reports problems."""
    if not settings.SENTRY_DSN or problem():
        return
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger

    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        environment=settings.MODE,
        # The other integrations record requests and queries, and add headers to outbound requests.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            AtexitIntegration(callback=lambda *_: None),
            DedupeIntegration(),
            ExcepthookIntegration(),
            LoggingIntegration(level=None, event_level=logging.ERROR),
        ],
        send_default_pii=False,
        include_local_variables=False,
        auto_session_tracking=False,
        send_client_reports=False,
        max_breadcrumbs=0,
        before_send=before_send,
    )
    # Anybody can cause these: requests with a foreign host name.
    ignore_logger("django.security.DisallowedHost")


def before_send(event: Any, hint: dict[str, Any]) -> Any:
    """Reduce an event to the keys in ``KEPT``, without secrets, and add the IDs of the logging context."""
    kept = {name: value for name, value in event.items() if name in KEPT}
    if entry := kept.get("logentry"):
        # Without ``params``: secrets are recognised by the words around them, which bare values lack.
        kept["logentry"] = {"message": entry["message"], "formatted": entry["formatted"]}
    record = hint.get("log_record")
    if request := getattr(record, "request", None):
        # A URL can contain a secret, such as an invitation's, so the route is sent instead.
        match = getattr(request, "resolver_match", None)
        route = match.route if match else GONE
        kept["logentry"] = {"message": f"{request.method} /{route} failed"}
        kept["transaction"] = f"/{route}"
    kept["tags"] = current_ids()
    return _cleaned(kept)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _ADDRESS.sub(GONE, without_secrets(value))
    if isinstance(value, dict):
        return {key: _cleaned(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    return value if isinstance(value, int | float | None) else GONE
