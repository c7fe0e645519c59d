"""Account prefix of URLs: an account's pages are below ``/a/<account>/``.

A link, a bookmark, a browser tab and a form therefore mean one account, whatever is open in other tabs.
:class:`AccountPrefixPattern` works like Django's ``LocalePrefixPattern``: the prefix is not an argument of
the views, and ``reverse`` and ``{% url %}`` add the account of the request to the URL automatically.
:class:`AccountMiddleware` binds that account; jobs that send links use :func:`of_account`. If no account is
bound, ``reverse`` returns the URL without a prefix, which redirects to the account used last.
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
# Placeholder for the account in the tables of ``reverse``, which are built once for all requests.
PLACEHOLDER = "/a/~account~/"

_account: ContextVar[Callable[[], str | None]] = ContextVar("account_of_addresses", default=lambda: None)


class AccountPrefixPattern:
    """URL pattern of the prefix ``a/<account>/``."""

    name = None
    regex = re.compile(PLACEHOLDER.removeprefix("/"))

    def __init__(self) -> None:
        self.converters: dict[str, Any] = {}

    def match(self, path: str) -> tuple[str, tuple[()], dict[str, Any]] | None:
        """Return the path after the prefix, without arguments; ``path`` has no leading slash."""
        found = PREFIX.match("/" + path)
        return (path[found.end() - 1 :], (), {}) if found else None

    def check(self) -> list[CheckMessage]:
        return []

    def describe(self) -> str:
        return f"'{self}'"

    def __str__(self) -> str:
        return "a/<account>/"


def account_patterns(*patterns: URLPattern | URLResolver) -> list[URLPattern | URLResolver]:
    """Put these URL patterns below ``/a/<account>/``."""
    return [URLResolver(AccountPrefixPattern(), list(patterns))]  # type: ignore[arg-type] # any pattern does


def account_in(path: str) -> str | None:
    """Return the account's uid in a path such as ``/a/acc_…/batches/``."""
    found = PREFIX.match(path)
    return found.group(1) if found else None


def is_address_without_account(path: str) -> bool:
    """Whether this is the path of an account's page without the prefix."""
    return not is_valid_path(path) and bool(is_valid_path(f"/a/acc_0{path}"))


def bind(account: Callable[[], str | None]) -> Callable[[], None]:
    """Bind the callable that returns the uid for ``reverse``. Returns a function that ends the binding."""
    token = _account.set(account)
    return lambda: _account.reset(token)


@contextmanager
def of_account(uid: str) -> Iterator[None]:
    """Context manager: ``reverse`` returns this account's URLs; for jobs, commands and admin pages."""
    end = bind(lambda: uid)
    try:
        yield
    finally:
        end()


def path(uid: str, viewname: str, *args: object) -> str:
    """Path of a page of this account, regardless of the bound account."""
    with of_account(uid):
        return reverse(viewname, args=args)


def link(uid: str, viewname: str, *args: object) -> str:
    """Absolute URL of an account's page, for mails and notifications."""
    return urljoin(settings.PUBLIC_URL, path(uid, viewname, *args))


def _with_account(path: str) -> str:
    if not path.startswith(PLACEHOLDER):
        return path
    uid = _account.get()()
    return path.replace(PLACEHOLDER, f"/a/{uid}/" if uid else "/", 1)


def _extend_reverse() -> None:
    """Patch ``reverse`` to replace the placeholder.

    Django's ``LocalePrefixPattern`` needs no patch because Django caches one table for each language. There
    are too many accounts for a table each.
    """
    original = URLResolver._reverse_with_prefix  # type: ignore[attr-defined] # noqa: SLF001

    @functools.wraps(original)
    def reverse_with_account(self: URLResolver, *args: Any, **kwargs: Any) -> str:
        return _with_account(original(self, *args, **kwargs))

    URLResolver._reverse_with_prefix = reverse_with_account  # type: ignore[attr-defined] # noqa: SLF001


_extend_reverse()
