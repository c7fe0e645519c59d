"""Mode, data folder, secrets and database of the installation."""

from __future__ import annotations

import secrets
from pathlib import Path

import django_stubs_ext
from cryptography.fernet import Fernet
from django.utils.translation import gettext_lazy as _

from speechportal.env import Env, stored_secret
from speechportal.service_urls import database

django_stubs_ext.monkeypatch()  # Makes generic classes such as ModelForm[User] subscriptable at run time.

BASE_DIR = Path(__file__).resolve().parents[2]
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
DEBUG_ASKED_FOR = env.flag(
    "DEBUG", default=False, description=_("Django’s debug pages. Ignored in production.")
)
DEBUG = DEBUG_ASKED_FOR and not PRODUCTION

BACKUP_PASSPHRASE = env.text(
    "BACKUP_PASSPHRASE",
    description=_("Encrypts backups (`manage.py backup`); without it none can be made or restored."),
)

# Secrets
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

# Database
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
SILENCED_SYSTEM_CHECKS = ["models.W040"]  # SQLite leaves out what an index includes, and works without it
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 5_000},  # sums of settled charges: a few per account and month
    }
}
