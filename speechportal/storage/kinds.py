"""Registry of storage kinds, and of the parameters that they declare.

To add a kind, write a module with a :class:`StorageKind` and list it in ``KINDS``. Forms, admin pages, the
API and its OpenAPI description are generated from the declared parameters; a connection stores the values in
one JSON column, validated by the kind, and its secrets encrypted.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from speechportal.storage.backends import kind_local, kind_remote, kind_s3
from speechportal.storage.backends.kind import Parameter, StorageKind

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

KINDS: Mapping[str, StorageKind] = MappingProxyType(
    {kind.name: kind for kind in (*kind_s3.KINDS, *kind_local.KINDS, *kind_remote.KINDS)}
)
# Parameters of all kinds by name, in order. Kinds with a parameter of the same name share its declaration.
PARAMETERS: Mapping[str, Parameter] = MappingProxyType(
    {each.name: each for kind in KINDS.values() for each in kind.parameters}
)


def kind_of(name: str) -> StorageKind:
    """Return the kind of this name. Raises KeyError for an unknown one."""
    return KINDS[name]


def choices() -> list[tuple[str, _StrOrPromise]]:
    """Names and labels of all kinds."""
    return [(kind.name, kind.label) for kind in KINDS.values()]


def kinds_with(parameter: str) -> list[str]:
    """Names of the kinds that have a parameter."""
    return [kind.name for kind in KINDS.values() if any(each.name == parameter for each in kind.parameters)]
