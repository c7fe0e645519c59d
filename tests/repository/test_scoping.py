"""Tenant data is read through one scoped manager.

Every view, API view, form, serializer and selector is found by introspection; a module that holds one of
them, and every other module of the product, may use ``unscoped`` only where `UNSCOPED` says why.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.db import models
from django.forms import BaseForm
from django.urls import URLPattern, URLResolver, get_resolver
from django.views import View
from rest_framework.serializers import BaseSerializer

from batches.models import RecognitionHost, ServedModel
from speechportal.accounts.models import (
    Account,
    AuthenticatorApp,
    MemberSession,
    Membership,
    Passkey,
    RecoveryCode,
    SignInFailures,
    User,
)
from speechportal.accounts.scoping import ScopedManager, UnscopedQuery
from speechportal.accounts.single_sign_on.identities import ExternalIdentity

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("speechportal", "domains", "batches")
OWN_APPS = {"accounts", "api", "storage", "domains", "batches"}
# Models that are not one tenant's: the tenant itself, people, and the installation's own rows.
SHARED = {
    Account,
    AuthenticatorApp,
    ExternalIdentity,
    Membership,
    MemberSession,
    RecognitionHost,
    Passkey,
    RecoveryCode,
    ServedModel,
    SignInFailures,
    User,
}

TENANT_MODELS = [
    model
    for model in apps.get_models()
    if model._meta.app_label in OWN_APPS and model not in SHARED and not model._meta.auto_created
]
GATES = {"unscoped", "_default_manager", "_base_manager"}

# Packages whose work is for all accounts, or that get rows which a scoped query has found.
ALL_ACCOUNTS = "works for every account: no member's request decides which rows"
OF_A_ROW = "gets a row that a scoped query has found, and reads what belongs to it, often under a lock"
STAFF = "pages of support staff, who work on every account"
DEFINES = "defines the managers"
UNSCOPED = {
    "batches.admin": STAFF,
    "batches.billing": OF_A_ROW,
    "batches.compat.clova.results": OF_A_ROW,
    "batches.compat.intake": OF_A_ROW,
    "batches.compat.openai.results": OF_A_ROW,
    "batches.compat.openai.stream": OF_A_ROW,
    "batches.compat.waiting": OF_A_ROW,
    "batches.intake.first_bytes": OF_A_ROW,
    "batches.intake.input_path": OF_A_ROW,
    "batches.intake.left_alone": ALL_ACCOUNTS,
    "batches.intake.new_tasks": OF_A_ROW,
    "batches.intake.notifications": OF_A_ROW,
    "batches.intake.poll_schedule": ALL_ACCOUNTS,
    "batches.intake.polling": ALL_ACCOUNTS,
    "batches.intake.uploads": OF_A_ROW,
    "batches.management.commands.adopt_results": ALL_ACCOUNTS,
    "batches.models": DEFINES,
    "batches.notifications.sending": ALL_ACCOUNTS,
    "batches.operations": ALL_ACCOUNTS,
    "batches.reports": ALL_ACCOUNTS,
    "batches.services.batches": OF_A_ROW,
    "batches.services.tasks": OF_A_ROW,
    "batches.status": ALL_ACCOUNTS,
    "batches.tasks": ALL_ACCOUNTS,
    "batches.transcripts.corrections": OF_A_ROW,
    "batches.transcripts.originals": OF_A_ROW,
    "batches.transcripts.proposals": OF_A_ROW,
    "batches.transcripts.recordings": OF_A_ROW,
    "batches.transcripts.reprocessing": OF_A_ROW,
    "batches.transcripts.rule_trials": OF_A_ROW,
    "batches.transcripts.search": "indexes every transcript; its search takes an account",
    "batches.web.storage_notifications": "a signed address names the connection",
    "batches.webhooks": ALL_ACCOUNTS,
    "batches.worker": ALL_ACCOUNTS,
    "domains.admin": STAFF,
    "domains.keyword_use": OF_A_ROW,
    "domains.services": OF_A_ROW,
    "speechportal.accounts.audit.trail": DEFINES,
    "speechportal.accounts.members.invitations": "an invitation is found by its secret link",
    "speechportal.accounts.sign_in": "nobody is signed in yet, or the rows are one person's",
    "speechportal.accounts.single_sign_on.account_providers": "who signs in has no account yet",
    "speechportal.accounts.tokens.api_tokens": "a token is found by its secret",
    "speechportal.platform": "rows of the installation",
    "speechportal.storage.local_file_views": "a signed, expiring link names the connection",
    "speechportal.storage.models": DEFINES,
    "speechportal.support": STAFF,
}
# Interfaces of members and programs that may use it all the same: each is one of the reasons above.
INTERFACES = {
    "batches.web.storage_notifications",
    "speechportal.accounts.members.invitations",
    "speechportal.accounts.sign_in.address_verification",
    "speechportal.accounts.sign_in.password_reset",
    "speechportal.storage.local_file_views",
}


def modules() -> Iterator[ModuleType]:
    """All modules of the product except recognition, which has no database."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not any(part in found.name.split(".") for part in ("migrations", "recognition", "wsgi")):
                yield importlib.import_module(found.name)


MODULES = {module.__name__: module for module in modules()}


def test_importing_the_product_patches_no_thread() -> None:
    """Swift's packages bring eventlet, which turns the threads of the whole process into its own."""
    program = f"""
import importlib, sys
for name in {sorted(MODULES)}:
    importlib.import_module(name)
print([name for name in ("eventlet", "gevent", "swift") if name in sys.modules])
"""
    command = [sys.executable, "-c", f"import django; django.setup()\n{program}"]
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "speechportal.settings"}
    found = subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def uses(module: ModuleType) -> set[int]:
    """Lines of a module's source that bypass the scoped manager."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    return {
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in GATES
    } | {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "getattr"
        and any(isinstance(each, ast.Constant) and each.value in GATES for each in node.args)
    }


USERS = {name for name, module in MODULES.items() if uses(module)}


def views(patterns: list[URLPattern | URLResolver]) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            if pattern.namespace != "admin":
                yield from views(pattern.url_patterns)
        else:
            view: Any = pattern.callback
            yield getattr(view, "cls", None) or getattr(view, "view_class", None) or inspect.unwrap(view)


def is_of_staff(name: str) -> bool:
    return "admin" in name.split(".") or name.startswith("speechportal.support.")


def interfaces() -> set[str]:
    """Names of the modules that hold a view, API view, form, serializer or selector."""
    found = {view.__module__ for view in views(get_resolver().url_patterns)}
    for name, module in MODULES.items():
        if name.split(".")[-1] == "selectors":
            found.add(name)
        for kind in vars(module).values():
            if (
                inspect.isclass(kind)
                and issubclass(kind, (View, BaseForm, BaseSerializer))
                and kind.__module__ == name
            ):
                found.add(name)
    return {name for name in found if name.split(".")[0] in PACKAGES and not is_of_staff(name)}


def reason_of(module: str) -> str | None:
    parts = module.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((UNSCOPED[prefix] for prefix in prefixes if prefix in UNSCOPED), None)


@pytest.mark.parametrize("model", TENANT_MODELS, ids=lambda model: model.__name__)
def test_a_tenant_model_opens_only_with_an_account(model: type[models.Model]) -> None:
    manager = model.objects  # type: ignore[attr-defined] # every model below has one
    assert isinstance(manager, ScopedManager)
    with pytest.raises(UnscopedQuery):
        manager.all()
    with pytest.raises(UnscopedQuery):
        manager.filter(pk=1)
    condition = str(manager.for_account(Account(pk=7)).query)
    assert '"account_id" = 7' in condition


def test_interfaces_are_found_wherever_they_lie() -> None:
    found = interfaces()
    assert {
        "batches.web.batches",
        "batches.api.batches",
        "batches.api.serializers",
        "batches.compat.clova.views",
        "batches.services.selectors",
        "batches.web.forms",
        "batches.webhooks.forms",
        "domains.api",
        "speechportal.accounts.sign_in.password_reset",
        "speechportal.storage.local_file_views",
    } <= found


def test_no_view_form_serializer_or_selector_passes_the_scoped_manager_by() -> None:
    assert sorted(interfaces() & USERS - INTERFACES) == []


def test_every_other_use_has_a_reason() -> None:
    admin = {name for name in USERS if is_of_staff(name)}
    assert sorted(name for name in USERS - admin if reason_of(name) is None) == []


def test_no_reason_is_left_that_nothing_needs() -> None:
    stale = {name for name in UNSCOPED if not any(f"{user}.".startswith(f"{name}.") for user in USERS)}
    assert stale == set()
    assert INTERFACES <= USERS
