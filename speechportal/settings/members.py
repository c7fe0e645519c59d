"""Sign-in, language and time zone, and the mail server."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from speechportal import setting_forms as forms
from speechportal.env import TRUE_IN_PRODUCTION
from speechportal.settings.installation import BASE_DIR, PRODUCTION, env

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
    "speechportal.accounts.sign_in.backends.MemberBackend",
]
env.section = "sign_in"
SIGN_IN_TRIES = env.integer(
    "SIGN_IN_TRIES",
    8,
    minimum=1,
    description=_(
        "Wrong passwords or codes for one e-mail address from one network before sign-in is refused for a"
        " while; four times as many for an address from anywhere, eight times as many from one network."
    ),
)
SIGN_IN_WAIT_MINUTES = env.integer(
    "SIGN_IN_WAIT_MINUTES",
    15,
    minimum=1,
    description=_("How long it is refused at first; each further wrong one doubles it, up to 12 hours."),
)
STAFF_TWO_FACTOR = env.flag(
    "STAFF_TWO_FACTOR",
    default=PRODUCTION,
    shown=TRUE_IN_PRODUCTION,
    description=_("Support staff enter a code of an authenticator app after their password."),
)
# Single sign-on.
env.section = "single_sign_on"
OIDC_ISSUER = env.text(
    "OIDC_ISSUER",
    form=forms.URL,
    description=_("Address of the OpenID provider. Empty: no sign-in with company accounts."),
)
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID", description=_("The portal's client ID at the provider."))
OIDC_CLIENT_SECRET = env.text("OIDC_CLIENT_SECRET", description=_("The portal's secret at the provider."))
OIDC_LABEL = env.text("OIDC_LABEL", description=_("Text of the button on the sign-in page."))
OIDC_SCOPES = env.text(
    "OIDC_SCOPES",
    "openid email profile",
    description=_("Scopes to ask for. With offline_access the provider gives a refresh token."),
)
OIDC_GROUPS_CLAIM = env.text(
    "OIDC_GROUPS_CLAIM", "groups", description=_("The claim that holds a person's groups.")
)
OIDC_TRUST_EMAIL = env.flag(
    "OIDC_TRUST_EMAIL",
    default=False,
    description=_("Take addresses for verified where the provider does not say whether they are."),
)
OIDC_RECHECK_SECONDS = env.integer(
    "OIDC_RECHECK_SECONDS",
    300,
    minimum=5,
    description=_("Seconds between two questions to the provider whether a session still holds."),
)
SSO_GROUPS = env.words(
    "SSO_GROUPS",
    description=_("Roles that groups give, such as callcentre=acc_0123456789abcdef:manager, with commas."),
)
SSO_BREAK_GLASS = env.words(
    "SSO_BREAK_GLASS",
    description=_("Addresses of owners who may use a password in accounts that take only company sign-in."),
)
GATEWAY_EMAIL_HEADER = env.text(
    "GATEWAY_EMAIL_HEADER",
    form=forms.HEADER,
    description=_("Header in which a gateway names the person who is signed in there. Empty: none."),
)
GATEWAY_GROUPS_HEADER = env.text(
    "GATEWAY_GROUPS_HEADER",
    form=forms.HEADER,
    description=_("Header with that person's groups, with commas."),
)
GATEWAY_NETWORKS = env.networks(
    "GATEWAY_NETWORKS", description=_("Addresses of the gateway. From others the header is refused.")
)
LOGIN_URL = "login"
CSRF_FAILURE_VIEW = "speechportal.accounts.sign_in.resubmission.csrf_failure"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ko", _("Korean"))]
FORMAT_MODULE_PATH = "speechportal.platform.date_formats"
LOCALE_PATHS = [BASE_DIR / "speechportal" / "locale"]
TIME_ZONE = env.time_zone(
    "TIME_ZONE", "UTC", description=_("The time zone of users who have not chosen one.")
)
USE_I18N = USE_TZ = True

# Mail. Without a host no mail is sent, and invitation links are passed on by hand.
env.section = "mail"
EMAIL_HOST = env.text(
    "EMAIL_HOST",
    form=forms.HOST,
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
