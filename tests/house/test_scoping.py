"""Tenant data has one gate."""

from __future__ import annotations

import ast

import pytest
from django.apps import apps
from django.db import models

from speechportal.accounts.models import (
    Account,
    AuthenticatorApp,
    MemberSession,
    Membership,
    RecoveryCode,
    User,
)
from speechportal.accounts.scoping import ScopedManager, UnscopedQuery
from tests.house.test_imports import ROOT, sources

OWN_APPS = {"accounts", "api", "storage", "domains", "batches", "speechportal"}
# Models that are not one tenant's: the tenant itself, people, and the installation's own rows.
SHARED = {Account, AuthenticatorApp, Membership, MemberSession, RecoveryCode, User}

TENANT_MODELS = [
    model
    for model in apps.get_models()
    if model._meta.app_label in OWN_APPS - {"speechportal"}
    and model not in SHARED
    and not model._meta.auto_created
]


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


def test_pages_and_the_api_never_pass_the_gate_by() -> None:
    """``unscoped`` is for workers and support staff."""
    rooms = ("views", "forms", "selectors", "api", "urls", "serializers")
    wrong = []
    for path in sources("speechportal", "domains", "batches"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if not any(part in rooms for part in parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in {
                "unscoped",
                "_default_manager",
                "_base_manager",
            }:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []
