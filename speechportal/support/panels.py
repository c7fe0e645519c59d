"""Panels of the admin's first page: waiting, running and stuck work. Each app adds its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.utils.functional import Promise


@dataclass(frozen=True)
class Figure:
    """Number of a panel. ``alarm`` marks one that needs attention."""

    label: str | Promise
    value: Any
    url: str = ""
    alarm: bool = False


@dataclass(frozen=True)
class Panel:
    title: str | Promise
    figures: list[Figure]
    columns: list[str | Promise] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)  # cells; links are marked safe
    wide: bool = False  # spans the whole width of the page


_panels: list[tuple[str, Callable[[], Panel]]] = []


def panel(permission: str) -> Callable[[Callable[[], Panel]], Callable[[], Panel]]:
    """Register a panel for staff with ``permission``."""

    def register(make: Callable[[], Panel]) -> Callable[[], Panel]:
        _panels.append((permission, make))
        return make

    return register


def panels_for(request: HttpRequest) -> list[Panel]:
    user: Any = request.user
    return [make() for permission, make in _panels if user.has_perm(permission)]
