"""Web server: hosts, applications, middleware, templates, cookies and static files."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from speechportal import setting_forms as forms
from speechportal.env import TRUE_IN_PRODUCTION
from speechportal.settings.installation import BASE_DIR, DATA_DIR, PRODUCTION, env

env.section = "web"
HTTPS = env.flag(
    "HTTPS",
    default=PRODUCTION,
    shown=TRUE_IN_PRODUCTION,
    description=_("Secure cookies, a redirect to HTTPS, and HSTS for a year."),
)
ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS",
    "localhost,127.0.0.1,[::1]",
    required=True,
    form=forms.ALLOWED_HOST,
    description=_("Host names that the portal answers to."),
)
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS if PRODUCTION and host != "*"]
PUBLIC_URL = env.text(
    "PUBLIC_URL",
    f"https://{ALLOWED_HOSTS[0]}" if PRODUCTION else "http://127.0.0.1:8000",
    form=forms.URL,
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
    "speechportal.platform.query_strings.QueryStringMiddleware",
    "speechportal.api.middleware.RequestIdMiddleware",
    "speechportal.outbound.web_budget.WebBudgetMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "speechportal.platform.content_security.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "speechportal.accounts.single_sign_on.middleware.GatewayMiddleware",
    "speechportal.accounts.single_sign_on.middleware.CompanySessionMiddleware",
    "speechportal.accounts.middleware.AccountMiddleware",
    "speechportal.accounts.audit.actor.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "speechportal.accounts.middleware.SessionNotesMiddleware",
    "speechportal.accounts.middleware.SecondFactorMiddleware",
    "speechportal.accounts.middleware.MemberPreferencesMiddleware",
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
REQUEST_BODY_SECONDS = env.integer(
    "REQUEST_BODY_SECONDS",
    30,
    minimum=1,
    description=_("Seconds for a request to arrive; of a longer body, 4 KiB a second are asked for beyond."),
)

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "speechportal" / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION
if not PRODUCTION:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns if it is missing.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "speechportal.platform.static_files.HashedStaticFilesStorage"
            if PRODUCTION
            else "django.contrib.staticfiles.storage.StaticFilesStorage"
        )
    },
}
