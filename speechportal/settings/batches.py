"""Storages, limits of batches, outbound requests and webhooks."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from speechportal import setting_forms as forms
from speechportal.env import FALSE_IN_PRODUCTION
from speechportal.settings.installation import DATA_DIR, PRODUCTION, env

env.section = "storage"
STORAGE_LOCAL_ROOTS = env.paths(
    "STORAGE_LOCAL_ROOTS",
    "" if PRODUCTION else str(DATA_DIR / "storage"),
    shown=_("none in production, else `storage` in the data folder"),
    description=_("Folders below which local-folder connections may lie."),
)
STORAGE_ALLOW_PRIVATE_ENDPOINTS = env.flag(
    "STORAGE_ALLOW_PRIVATE_ENDPOINTS",
    default=not PRODUCTION,
    shown=FALSE_IN_PRODUCTION,
    description=_("S3 endpoints may be in a private network, use `http://` and any port."),
)

# Batches and tasks
env.section = "batches"
BATCH_LIMIT = env.integer(
    "BATCH_LIMIT", 10, minimum=0, description=_("Batches of a new account; support staff can change it.")
)
PRICE_PER_FILE = env.text(
    "PRICE_PER_FILE", "0.10", form=forms.PRICE, description=_("Price per recognised file of a new account.")
)
CURRENCY = env.text("CURRENCY", "USD", form=forms.CURRENCY, description=_("Currency of a new account."))
POLL_SECONDS = env.integer(
    "POLL_SECONDS", 30, minimum=1, description=_("How often each input path is polled, in seconds.")
)
SETTLE_SECONDS = env.integer(
    "SETTLE_SECONDS",
    10,
    minimum=0,
    description=_("A file becomes a task once it has not changed for so many seconds."),
)
IDLE_SECONDS = env.integer(
    "IDLE_SECONDS",
    600,
    minimum=1,
    description=_("After so many idle seconds, fewer than ten finished tasks are reported too."),
)
TASKS_PER_EXECUTION_RESULT = 10
LEASE_SECONDS = env.integer(
    "LEASE_SECONDS",
    60,
    minimum=5,
    description=_("A worker that gives no sign of life for so many seconds loses its task to another."),
)
MAX_ATTEMPTS = env.integer(
    "MAX_ATTEMPTS",
    3,
    minimum=1,
    description=_("A task fails after it has ended so many workers or recognition processes."),
)
MAX_MEDIA_SECONDS = env.integer(
    "MAX_MEDIA_SECONDS", 6 * 3600, minimum=1, description=_("Longest file that is accepted, in seconds.")
)
MAX_MEDIA_BYTES = env.integer(
    "MAX_MEDIA_BYTES", 2 * 1024**3, minimum=1, description=_("Largest file that is accepted, in bytes.")
)

# Outbound requests
# Webhooks and fetches by URL are limited to public addresses over HTTPS (speechportal/outbound); these
# settings allow more.
env.section = "outbound"
OUTBOUND_NETWORKS = env.networks(
    "OUTBOUND_NETWORKS",
    description=_("Networks such as `10.1.0.0/16` that webhooks may reach although they are not public."),
)
OUTBOUND_HTTP = env.flag(
    "OUTBOUND_HTTP",
    default=not PRODUCTION,
    shown=FALSE_IN_PRODUCTION,
    description=_("Webhook URLs and public storages may start with `http://`."),
)
OUTBOUND_PORTS = env.ports(
    "OUTBOUND_PORTS",
    "80,443,8080,8443,9000",
    description=_("Ports that webhooks and public storages may use; `any` for all."),
)
OUTBOUND_CA_FILE = env.file(
    "OUTBOUND_CA_FILE",
    shown=_("the system’s"),
    description=_("A file with the certificate authorities that webhooks trust instead of the system’s."),
)

# Webhooks
env.section = "webhooks"
WEBHOOK_TIMEOUT_SECONDS = env.integer(
    "WEBHOOK_TIMEOUT_SECONDS",
    10,
    minimum=1,
    description=_("How long a receiver may take, from name resolution to the last byte of its answer."),
)
WEBHOOK_THREADS = env.integer(
    "WEBHOOK_THREADS", 64, minimum=2, description=_("Messages that one sender has under way at once.")
)
WEBHOOK_LEASE_SECONDS = env.integer(
    "WEBHOOK_LEASE_SECONDS",
    90,
    minimum=30,
    description=_("A sender that gives no sign of life for so many seconds loses its deliveries to another."),
)
DELIVERY_WORKERS = env.integer(
    "DELIVERY_WORKERS", 1, minimum=1, description=_("Senders of webhooks on this machine.")
)
