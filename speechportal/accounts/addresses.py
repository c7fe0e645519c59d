"""Account prefix of addresses: an account's pages are below ``/a/<account>/``.

A link, a bookmark, a browser tab and a form therefore mean one account, whatever is open in other tabs.
:class:`AccountPrefixPattern` works like Django's ``LocalePrefixPattern``: the prefix is no argument of the
views, and ``reverse`` and ``{% url %}`` put the account of the request into the address by themselves.
:class:`AccountMiddleware` binds that account; jobs that send links use :func:`of_account`. Where no account
is bound, ``reverse`` gives the address without a prefix, which redirects to the account used last.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import urljoin

from django.conf import settings
from django.core.checks import CheckMessage
from django.urls import URLPattern, URLResolver, is_valid_path, reverse

UID = r"acc_[0-9a-z]{1,20}"
PREFIX = re.compile(rf"/a/({UID})/")
# In the tables of ``reverse``, which are made once for all requests, this stands for the account.
PLACEHOLDER = "/a/~account~/"

_account: ContextVar[Callable[[], str | None]] = ContextVar("account_of_addresses", default=lambda: None)


class AccountPrefixPattern:
    """The part ``a/<account>/`` of a route."""

    name = None
    regex = re.compile(PLACEHOLDER.removeprefix("/"))

    def __init__(self) -> None:
        self.converters: dict[str, Any] = {}

    def match(self, path: str) -> tuple[str, tuple[()], dict[str, Any]] | None:
        """What follows the prefix, without arguments; ``path`` begins after the first slash."""
        found = PREFIX.match("/" + path)
        return (path[found.end() - 1 :], (), {}) if found else None

    def check(self) -> list[CheckMessage]:
        return []

    def describe(self) -> str:
        return f"'{self}'"

    def __str__(self) -> str:
        return "a/<account>/"


def account_patterns(*patterns: URLPattern | URLResolver) -> list[URLPattern | URLResolver]:
    """Put these addresses below ``/a/<account>/``."""
    return [URLResolver(AccountPrefixPattern(), list(patterns))]  # type: ignore[arg-type] # any pattern does


def account_in(path: str) -> str | None:
    """The uid in an address, such as ``/a/acc_…/batches/``."""
    found = PREFIX.match(path)
    return found.group(1) if found else None


def is_address_without_account(path: str) -> bool:
    """Whether this is the path of an account's page that lacks its prefix."""
    return not is_valid_path(path) and bool(is_valid_path(f"/a/acc_0{path}"))


def bind(account: Callable[[], str | None]) -> Callable[[], None]:
    """Let ``reverse`` ask ``account`` for the uid. Returns a function that ends it."""
    token = _account.set(account)
    return lambda: _account.reset(token)


@contextmanager
def of_account(uid: str) -> Iterator[None]:
    """Inside, ``reverse`` gives this account's addresses: for jobs, commands and support staff's pages."""
    end = bind(lambda: uid)
    try:
        yield
    finally:
        end()


def path(uid: str, viewname: str, *args: object) -> str:
    """The address of a page of this account, whatever account is bound."""
    with of_account(uid):
        return reverse(viewname, args=args)


def link(uid: str, viewname: str, *args: object) -> str:
    """The absolute address of an account's page, for mails and notifications."""
    return urljoin(settings.PUBLIC_URL, path(uid, viewname, *args))


def _with_account(path: str) -> str:
    if not path.startswith(PLACEHOLDER):
        return path
    uid = _account.get()()
    return path.replace(PLACEHOLDER, f"/a/{uid}/" if uid else "/", 1)


def _extend_reverse() -> None:
    """Make ``reverse`` replace the placeholder.

    Django's ``LocalePrefixPattern`` needs no such step because Django caches one table for each language.
    There are too many accounts for a table each.
    """
    original = URLResolver._reverse_with_prefix  # type: ignore[attr-defined] # noqa: SLF001

    @functools.wraps(original)
    def reverse_with_account(self: URLResolver, *args: Any, **kwargs: Any) -> str:
        return _with_account(original(self, *args, **kwargs))

    URLResolver._reverse_with_prefix = reverse_with_account  # type: ignore[attr-defined] # noqa: SLF001


_extend_reverse()
