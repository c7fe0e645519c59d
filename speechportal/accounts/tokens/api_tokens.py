"""API tokens: create, verify, count requests and revoke.

A token is ``spk_``, its public key (12 letters), a secret (32) and a checksum (7), all in Crockford's base
32: ``spk_[0-9a-hjkmnp-tv-z]{51}``. With the checksum, the portal and scanners for leaked secrets recognise a
token without a database query. Only an HMAC under a pepper is stored; a digest under an older pepper is
renewed when its token is next used, so that a pepper can be retired.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.utils import timezone
from django.utils.translation import gettext as _

from speechportal.accounts.models import Account, ApiToken, User
from speechportal.accounts.tokens.scopes import networks_within, within
from speechportal.accounts.uids import ALPHABET

PREFIX = "spk_"
KEY_LENGTH, SECRET_LENGTH, SUM_LENGTH = 12, 32, 7
PATTERN = re.compile(rf"{PREFIX}[{ALPHABET}]{{{KEY_LENGTH + SECRET_LENGTH + SUM_LENGTH}}}")
MINUTE = timedelta(minutes=1)


def create_token(
    *,
    account: Account,
    created_by: User,
    name: str,
    scopes: list[str],
    allowed_addresses: list[str] | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Create a token; returns it with its plain text, which is not stored. Raises ``ValidationError``."""
    key, secret = _letters(KEY_LENGTH), _letters(SECRET_LENGTH)
    plain = f"{PREFIX}{key}{secret}"
    plain += _check_sum(plain)
    pepper = _peppers()[0]
    token = ApiToken(
        account=account,
        created_by=created_by,
        name=name.strip(),
        key=key,
        digest=_digest(plain, pepper),
        pepper=_pepper_id(pepper),
        scopes=sorted(set(scopes)),
        allowed_addresses=list(allowed_addresses or []),
        expires_at=expires_at,
    )
    errors = {}
    try:
        token.full_clean()
    except ValidationError as error:
        errors = error.error_dict
    if expires_at is not None and expires_at <= timezone.now():
        errors["expires_at"] = [ValidationError(_("Choose a time in the future."), code="in_the_past")]
    if errors:
        raise ValidationError(errors)
    token.save(force_insert=True)
    return token, plain


def exceeds(
    maker: ApiToken,
    *,
    scopes: list[str],
    allowed_addresses: list[str] | None = None,
    expires_at: datetime | None = None,
    **_other: object,
) -> tuple[str, str] | None:
    """Check that a new token is not stronger than its maker; returns the reason, as code and sentence."""
    if not within(scopes, maker.scopes):
        return "scope_exceeded", _("A token can make only tokens that may do no more than itself.")
    if not networks_within(allowed_addresses or [], maker.allowed_addresses):
        return "addresses_exceeded", _("A token can make only tokens for addresses that it has itself.")
    if maker.expires_at is not None and (expires_at is None or expires_at > maker.expires_at):
        return "expiry_exceeded", _("A token can make only tokens that expire no later than itself.")
    return None


def revoke_token(*, token: ApiToken) -> None:
    """Revoke a token; it stops working with the next request. Idempotent."""
    with transaction.atomic():
        locked = ApiToken.unscoped.select_for_update().get(pk=token.pk)
        if locked.revoked_at is None:
            locked.revoked_at = timezone.now()
            locked.save(update_fields=["revoked_at"])  # Not an update(): the audit trail follows save().


def active(tokens: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
    """Filter tokens that are valid now: neither revoked nor expired."""
    return tokens.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)


def find_token(plain: str) -> ApiToken | None:
    """Look up a token by its plain text, revoked and expired ones included; ``None`` if there is none."""
    if not PATTERN.fullmatch(plain) or not _same(_check_sum(plain[:-SUM_LENGTH]), plain[-SUM_LENGTH:]):
        return None
    key = plain[len(PREFIX) : len(PREFIX) + KEY_LENGTH]
    token = ApiToken.unscoped.select_related("account", "created_by").filter(key=key).first()
    if token is None:
        return None
    peppers = {_pepper_id(pepper): pepper for pepper in _peppers()}
    pepper = peppers.get(token.pepper)
    if pepper is None or not _same(_digest(plain, pepper), token.digest):
        return None
    current = _peppers()[0]
    if pepper != current:
        token.digest, token.pepper = _digest(plain, current), _pepper_id(current)
        ApiToken.unscoped.filter(pk=token.pk).update(digest=token.digest, pepper=token.pepper)
    return token


def note_use(token: ApiToken, limit: int) -> bool:
    """Count a request in the token's current minute; ``False`` when the minute's ``limit`` is used up.

    One conditional update, so that the limit holds for all processes together. The count is set on ``token``;
    with concurrent requests it may be slightly out of date.
    """
    now = timezone.now()
    over = Q(minute_started_at=None) | Q(minute_started_at__lte=now - MINUTE)
    counted = ApiToken.unscoped.filter(Q(pk=token.pk), over | Q(minute_requests__lt=limit)).update(
        last_used_at=now,
        minute_requests=Case(When(over, then=Value(1)), default=F("minute_requests") + 1),
        minute_started_at=Case(When(over, then=Value(now)), default=F("minute_started_at")),
    )
    if not counted:
        return False
    if token.minute_started_at is None or token.minute_started_at <= now - MINUTE:
        token.minute_started_at, token.minute_requests = now, 0
    token.minute_requests += 1
    token.last_used_at = now
    return True


def seconds_left(token: ApiToken) -> int:
    """Seconds until the token's current minute is over."""
    started = token.minute_started_at or timezone.now()
    return max(1, -int(-(started + MINUTE - timezone.now()).total_seconds() // 1))


def _letters(count: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _number in range(count))


def _check_sum(text: str) -> str:
    number, letters = zlib.crc32(text.encode()), ""
    for _number in range(SUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        letters = ALPHABET[digit] + letters
    return letters


def _peppers() -> list[str]:
    return list(settings.API_TOKEN_PEPPERS)


def _pepper_id(pepper: str) -> str:
    return hashlib.sha256(f"pepper:{pepper}".encode()).hexdigest()[:16]


def _digest(plain: str, pepper: str) -> str:
    return hmac.new(pepper.encode(), plain.encode(), hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
