"""OpenID Connect: discovery, authorization code with PKCE, and verified ID tokens.

Every request goes through the guarded transport. Sources: OpenID Connect Core 1.0 (3.1, 5.3), Discovery 1.0,
RP-Initiated Logout 1.0, RFC 7636 (PKCE).

::

    SignInError
    ├── ProviderUnavailable   the provider does not respond, or its response is invalid
    ├── ProviderRefused       the provider rejects a code or token, for instance an expired one
    └── BadToken              an ID token for another client, outside its validity, or with a bad signature
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.utils.translation import gettext_lazy as _
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from speechportal.accounts.single_sign_on.configuration import Provider
from speechportal.outbound import client
from speechportal.outbound.errors import OutboundError
from speechportal.outbound.policy import policy

TIMEOUT = 10.0  # seconds
LARGEST_ANSWER = 1024 * 1024
CACHE_SECONDS = 3600.0
LEEWAY = 60  # seconds of clock difference
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
BROWSER_ENDPOINTS = ("authorization_endpoint", "end_session_endpoint")  # used in links and redirects
Claims = Mapping[str, Any]


class SignInError(Exception):
    """Company sign-in failed. ``sentence`` is for people; the message is for the log."""

    sentence = _("Sign-in with your company’s account did not succeed.")


class ProviderUnavailable(SignInError):
    sentence = _("Your company’s sign-in does not answer. Try again in a minute.")


class ProviderRefused(SignInError):
    sentence = _("Your company’s sign-in refused. Start again.")


class BadToken(SignInError):
    sentence = _("The answer of your company’s sign-in could not be verified. Start again.")


@dataclass(frozen=True)
class Metadata:
    """Provider metadata from the discovery document (Discovery 1.0, section 3)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    end_session_endpoint: str
    posts_secret: bool  # client_secret_post instead of client_secret_basic


@dataclass(frozen=True)
class Tokens:
    id_token: str
    access_token: str
    refresh_token: str


@dataclass(frozen=True)
class Attempt:
    """Sign-in in progress, stored in the session until the browser returns from the provider."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Attempt:
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(64))


_cache: dict[str, tuple[float, dict[str, Any]]] = {}
MOST_CACHED = 500  # documents: each account may have a provider


def forget() -> None:
    """Clear the cache of providers' documents, for tests."""
    _cache.clear()


def metadata(provider: Provider) -> Metadata:
    """Metadata of a provider, cached. Raises ProviderUnavailable, also if it names another issuer."""
    found = _cached(f"{provider.issuer}/.well-known/openid-configuration")
    if str(found.get("issuer", "")).rstrip("/") != provider.issuer:
        raise ProviderUnavailable("the metadata names another issuer")
    methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    for name in BROWSER_ENDPOINTS:
        if urlsplit(str(found.get(name) or "https:")).scheme not in {"https", "http"}:
            raise ProviderUnavailable(f"{name} is not a web address")
    try:
        return Metadata(
            authorization_endpoint=str(found["authorization_endpoint"]),
            token_endpoint=str(found["token_endpoint"]),
            jwks_uri=str(found["jwks_uri"]),
            userinfo_endpoint=str(found.get("userinfo_endpoint", "")),
            end_session_endpoint=str(found.get("end_session_endpoint", "")),
            posts_secret="client_secret_basic" not in methods and "client_secret_post" in methods,
        )
    except KeyError as error:
        raise ProviderUnavailable(f"the metadata lacks {error}") from error


def authorization_url(provider: Provider, attempt: Attempt, redirect_uri: str) -> str:
    """URL of the provider's sign-in page, with state, nonce and PKCE challenge."""
    challenge = hashlib.sha256(attempt.verifier.encode()).digest()
    parameters = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "scope": provider.scopes,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    return _with_query(metadata(provider).authorization_endpoint, parameters)


def redeem(provider: Provider, attempt: Attempt, code: str, redirect_uri: str) -> tuple[Tokens, Claims]:
    """Exchange the code for tokens and the claims of the ID token and of userinfo. Raises SignInError."""
    answer = _ask_for_tokens(
        provider,
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
        },
    )
    tokens = _tokens(answer, "")
    claims = verified_claims(provider, tokens.id_token, nonce=attempt.nonce)
    return tokens, {**claims, **_userinfo(provider, tokens.access_token, str(claims["sub"]))}


def renew(provider: Provider, tokens: Tokens, subject: str) -> tuple[Tokens, Claims]:
    """Check that a sign-in is still valid, by the refresh token or else by the access token.

    Raises ProviderRefused if it is not, ProviderUnavailable if the provider does not say.
    """
    if tokens.refresh_token:
        fields = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
        tokens = _tokens(_ask_for_tokens(provider, fields), tokens.refresh_token, tokens.id_token)
    return tokens, _userinfo(provider, tokens.access_token, subject, needed=True)


def verified_claims(provider: Provider, id_token: str, *, nonce: str) -> Claims:
    """Validate an ID token (Core 1.0, 3.1.3.7) and return its claims. Raises BadToken."""
    decoded = _decoded(provider, id_token)
    claims = decoded.claims
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience or []
    registry = jwt.JWTClaimsRegistry(
        leeway=LEEWAY,
        iss={"essential": True, "value": str(claims.get("iss", ""))},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        registry.validate(claims)
    except JoseError as error:
        raise BadToken(type(error).__name__) from error
    if str(claims["iss"]).rstrip("/") != provider.issuer:
        raise BadToken("another issuer")
    if provider.client_id not in audiences:
        raise BadToken("another audience")
    if len(audiences) > 1 and claims.get("azp") != provider.client_id:
        raise BadToken("another authorized party")
    if not secrets.compare_digest(str(claims.get("nonce", "")), nonce):
        raise BadToken("another nonce")
    return claims


def end_session_url(provider: Provider, id_token: str, back_to: str) -> str:
    """URL that signs the browser out at the provider; empty if the provider has none."""
    endpoint = metadata(provider).end_session_endpoint
    if not endpoint:
        return ""
    parameters = {
        "id_token_hint": id_token,
        "client_id": provider.client_id,
        "post_logout_redirect_uri": back_to,
    }
    return _with_query(endpoint, parameters)


def _decoded(provider: Provider, id_token: str) -> jwt.Token:
    """Token with a verified signature. Keys are fetched again once, since providers rotate them."""
    uri = metadata(provider).jwks_uri
    try:
        return jwt.decode(id_token, KeySet.import_key_set(_cached(uri)), algorithms=ALGORITHMS)  # type: ignore[arg-type] # a JWKS
    except (JoseError, ValueError, KeyError):
        _cache.pop(uri, None)
    try:
        return jwt.decode(id_token, KeySet.import_key_set(_cached(uri)), algorithms=ALGORITHMS)  # type: ignore[arg-type] # likewise
    except (JoseError, ValueError, KeyError) as error:
        raise BadToken(type(error).__name__) from error


def _tokens(answer: Mapping[str, Any], refresh_token: str, id_token: str = "") -> Tokens:  # nosec B107
    found = Tokens(
        str(answer.get("id_token") or id_token),
        str(answer.get("access_token", "")),
        str(answer.get("refresh_token") or refresh_token),
    )
    if not found.id_token or not found.access_token:
        raise ProviderUnavailable("the response lacks a token")
    return found


def _ask_for_tokens(provider: Provider, fields: dict[str, str]) -> dict[str, Any]:
    found = metadata(provider)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    fields = {**fields, "client_id": provider.client_id}
    if found.posts_secret:
        fields["client_secret"] = provider.client_secret
    elif provider.client_secret:
        pair = f"{quote(provider.client_id, safe='')}:{quote(provider.client_secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    try:
        response = client.post(
            found.token_endpoint,
            urlencode(fields).encode(),
            headers,
            timeout=TIMEOUT,
            max_body=LARGEST_ANSWER,
            policy=policy(),
        )
    except OutboundError as error:
        raise ProviderUnavailable(error.code) from error
    if 400 <= response.status < 500 and response.status not in {408, 429}:
        raise ProviderRefused(f"status {response.status}")
    if response.status != 200 or response.truncated:
        raise ProviderUnavailable(f"status {response.status}")
    return _object(response.body)


def _userinfo(provider: Provider, access_token: str, subject: str, *, needed: bool = False) -> Claims:
    """Present claims from the provider's userinfo endpoint. Raises SignInError."""
    endpoint = metadata(provider).userinfo_endpoint
    if not endpoint:
        if needed:
            raise ProviderUnavailable("there is no userinfo endpoint")
        return {}
    file = io.BytesIO()
    try:
        client.get(
            endpoint,
            file,
            {"Authorization": f"Bearer {access_token}", "Accept": "application/json"},
            timeout=TIMEOUT,
            max_body=LARGEST_ANSWER,
            policy=policy(),
        )
    except OutboundError as error:
        if error.details.get("status") in {400, 401, 403}:
            raise ProviderRefused("userinfo") from error
        raise ProviderUnavailable(error.code) from error
    claims = _object(file.getvalue())
    if claims.get("sub") != subject:
        raise BadToken("userinfo is about another subject")
    return claims


def _cached(url: str) -> dict[str, Any]:
    found = _cache.get(url)
    if found is None or time.monotonic() - found[0] > CACHE_SECONDS:
        file = io.BytesIO()
        try:
            client.get(url, file, timeout=TIMEOUT, max_body=LARGEST_ANSWER, policy=policy())
        except OutboundError as error:
            raise ProviderUnavailable(error.code) from error
        found = (time.monotonic(), _object(file.getvalue()))
        if len(_cache) >= MOST_CACHED:
            _cache.pop(next(iter(_cache)), None)
        _cache[url] = found
    return found[1]


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise ProviderUnavailable("the response is not JSON") from error
    if not isinstance(found, dict):
        raise ProviderUnavailable("the response is not a JSON object")
    return found


def _with_query(endpoint: str, parameters: Mapping[str, str]) -> str:
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"
