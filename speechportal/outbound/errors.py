"""Errors of outbound requests.

::

    OutboundError
    ├── BadUrl              permanent   refused before the request
    ├── HttpsRequired       permanent
    ├── PortNotAllowed      permanent
    ├── AddressNotAllowed   permanent
    ├── NameNotFound                    no connection
    ├── ConnectionFailed
    ├── NoTrust
    ├── TimedOut                        the deadline of the whole exchange passed
    ├── Busy                            no slot of the web process is free
    ├── BadAnswer                       an invalid response
    ├── UnexpectedStatus
    └── AnswerTooLarge      permanent
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _


class OutboundError(Exception):
    """Base of all outbound errors.

    ``code`` never changes once released; ``message`` is for the person who entered the URL. ``permanent``
    means that a retry fails again until a person has changed something.
    """

    code = "outbound_failed"
    sentence: Any = _("The request failed.")
    permanent = False

    def __init__(self, **details: str | int) -> None:
        super().__init__(self.code)
        self.details = details

    @property
    def message(self) -> str:
        return str(self.sentence) % self.details

    def __str__(self) -> str:
        return self.message


class BadUrl(OutboundError):
    code = "bad_url"
    sentence = _("This is not a web address that can be used here.")
    permanent = True


class HttpsRequired(OutboundError):
    code = "https_required"
    sentence = _("The address must begin with https://.")
    permanent = True


class PortNotAllowed(OutboundError):
    code = "port_not_allowed"
    sentence = _("Port %(port)s is not allowed here.")
    permanent = True


class AddressNotAllowed(OutboundError):
    code = "address_not_allowed"
    sentence = _("%(host)s leads to an address that is not on the public internet.")
    permanent = True


class NameNotFound(OutboundError):
    code = "name_not_found"
    sentence = _("No address is known for %(host)s.")


class ConnectionFailed(OutboundError):
    code = "connection_failed"
    sentence = _("No connection: %(reason)s.")


class NoTrust(OutboundError):
    code = "certificate_refused"
    sentence = _("The server's certificate was not accepted: %(reason)s.")


class TimedOut(OutboundError):
    code = "deadline_passed"
    sentence = _("The server took too long to answer.")


class Busy(OutboundError):
    code = "busy"
    sentence = _("Too many requests of this account or to this server are under way. Try again in a moment.")


class BadAnswer(OutboundError):
    code = "bad_answer"
    sentence = _("The answer was not understood: %(reason)s.")


class UnexpectedStatus(OutboundError):
    code = "unexpected_status"
    sentence = _(
        "The server answered with status %(status)s instead of the file. Redirects are not followed."
    )


class AnswerTooLarge(OutboundError):
    code = "answer_too_large"
    sentence = _("The file is larger than the %(limit)s bytes that are allowed.")
    permanent = True
