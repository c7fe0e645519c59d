"""Mapping of errors of S3 servers and botocore to storage errors.

Servers differ in the codes they send, and responses to HEAD have none, so an unknown or missing code is
classified by the HTTP status.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import urllib3.exceptions
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from speechportal.outbound import errors as outbound
from speechportal.storage.errors import (
    AccessDenied,
    BucketMissing,
    Changed,
    ClockSkew,
    ConnectionRefused,
    ForbiddenEndpoint,
    HostUnknown,
    InvalidKey,
    Misconfigured,
    NotFound,
    ObjectArchived,
    ObjectEncrypted,
    ObjectLocked,
    StorageBusy,
    StorageError,
    StorageFault,
    StorageFull,
    Throttled,
    TimedOut,
    TlsFailed,
    Unreachable,
    WrongCredentials,
)

_BY_CODE: dict[type[StorageError], str] = {
    WrongCredentials: (
        "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken ExpiredToken TokenRefreshRequired"
        " InvalidAccessKey AuthFailure UnrecognizedClientException InvalidClientTokenId MissingSecurityHeader"
        " Unauthorized NotSignedUp InvalidSecurity"
    ),
    AccessDenied: "AccessDenied AllAccessDisabled AccountProblem Forbidden AccessForbidden MethodNotAllowed",
    BucketMissing: "NoSuchBucket InvalidBucketName",
    NotFound: "NoSuchKey NoSuchVersion NotFound",
    Changed: "PreconditionFailed ConditionalRequestConflict",
    StorageFull: "QuotaExceeded InsufficientStorage EntityTooLarge TooManyObjects XMinioStorageFull",
    Throttled: (
        "SlowDown ServiceUnavailable Throttling ThrottlingException TooManyRequests RequestLimitExceeded"
        " BandwidthLimitExceeded Busy OperationAborted RequestThrottled"
    ),
    TimedOut: "RequestTimeout",
    InvalidKey: "KeyTooLongError KeyTooLong InvalidURI InvalidObjectName XMinioInvalidObjectName",
    Misconfigured: (
        "AuthorizationHeaderMalformed AuthorizationQueryParametersError PermanentRedirect TemporaryRedirect"
        " Redirect InvalidRegion IllegalLocationConstraintException InvalidLocationConstraint"
        " NotImplemented InvalidRequest"
    ),
    ClockSkew: "RequestTimeTooSkewed RequestExpired",
    StorageFault: "InternalError",
    ObjectArchived: "InvalidObjectState ObjectNotInActiveTierError",
    ObjectLocked: "ObjectLocked WORMProtectionViolation ObjectUnderRetention",
}
CODES = {code: kind for kind, codes in _BY_CODE.items() for code in codes.split()}
STATUSES: dict[int, type[StorageError]] = {
    301: Misconfigured,
    302: Misconfigured,
    307: Misconfigured,
    308: Misconfigured,
    400: Misconfigured,
    401: WrongCredentials,
    403: AccessDenied,
    404: NotFound,
    405: Misconfigured,
    408: TimedOut,
    409: Throttled,
    412: Changed,
    413: StorageFull,
    414: InvalidKey,
    429: Throttled,
    498: Throttled,  # OpenStack's "too many requests".
    501: Misconfigured,
    503: Throttled,
    504: TimedOut,
    507: StorageFull,
}


@contextlib.contextmanager
def faults(key: str) -> Iterator[None]:
    """Context manager: turns botocore's exceptions about ``key`` into :class:`StorageError`."""
    try:
        yield
    except boto.ClientError as error:
        raise from_answer(error, key) from error
    except (boto.BotoCoreError, urllib3.exceptions.HTTPError, ResponseParserError) as error:
        raise from_fault(error, key) from error
    except outbound.OutboundError as error:
        raise from_outbound(error, key) from error


def status_of(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def has_code(error: boto.ClientError) -> bool:
    """Whether the response has an error code; responses to HEAD have none."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return bool(code) and not code.isdigit() and code not in {"Unknown", "NotFound", "Forbidden"}


def from_answer(error: boto.ClientError, key: str) -> StorageError:
    """Storage error for an error response of the server."""
    code, status = str(error.response.get("Error", {}).get("Code", "")), status_of(error)
    message = str(error.response.get("Error", {}).get("Message", "")).lower()
    kind = CODES.get(code) or STATUSES.get(status, StorageFault)
    if code == "InvalidRequest" and "encrypt" in message:
        kind = ObjectEncrypted
    elif code == "AccessDenied" and ("worm" in message or "object lock" in message):
        kind = ObjectLocked
    answer = ", ".join(
        part for part in (code if has_code(error) else "", f"HTTP {status}" if status else "") if part
    )
    return kind(key, answer="" if kind in {NotFound, Changed} else answer)


# The first match counts. Anything else is a server that does not speak S3, or settings from which no request
# can be built.
_FAULTS: list[tuple[tuple[type[Exception], ...], type[StorageError]]] = [
    ((boto.SSLError,), TlsFailed),
    ((boto.ConnectTimeoutError, boto.ReadTimeoutError, urllib3.exceptions.TimeoutError), TimedOut),
    ((boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError), Unreachable),
    ((urllib3.exceptions.HTTPError,), Unreachable),
]


def from_fault(error: Exception, key: str) -> StorageError:
    """Storage error for a missing or unreadable response."""
    cause = error.kwargs.get("error") if isinstance(error, boto.HTTPClientError) else None
    if isinstance(cause, outbound.OutboundError):
        return from_outbound(cause, key)
    for kinds, portal_kind in _FAULTS:
        if isinstance(error, kinds):
            return portal_kind(key)
    return Misconfigured(key)


_OUTBOUND: dict[type[outbound.OutboundError], type[StorageError]] = {
    outbound.AddressNotAllowed: ForbiddenEndpoint,
    outbound.NameNotFound: HostUnknown,
    outbound.ConnectionFailed: Unreachable,
    outbound.NoTrust: TlsFailed,
    outbound.TimedOut: TimedOut,
    outbound.UnexpectedStatus: Misconfigured,
    outbound.AnswerTooLarge: StorageFault,
    outbound.BadAnswer: StorageFault,
    outbound.Busy: StorageBusy,
}


def from_outbound(error: outbound.OutboundError, key: str) -> StorageError:
    """Storage error for a request that the guarded transport refused or ended."""
    if isinstance(error, outbound.ConnectionFailed) and isinstance(error.__cause__, ConnectionRefusedError):
        return ConnectionRefused(key)
    if isinstance(error, outbound.UnexpectedStatus):
        return Misconfigured(key, answer=f"HTTP {error.details['status']}")
    if isinstance(error, outbound.AnswerTooLarge):
        return StorageFault(key, answer=f"more than {error.details['limit']} bytes")
    return _OUTBOUND.get(type(error), StorageFault)(key)
