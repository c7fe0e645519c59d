"""Migrations: every one can be reversed and applied again, so that a failed release can be rolled back."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from django.apps import apps
from django.db import models
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader

from speechportal.platform.concurrent_indexes import AddIndexConcurrently
from tests.system.releases import RELEASES

ROOT = Path(__file__).resolve().parents[2]
OWN_APPS = ["batches", "storage", "domains", "accounts", "platform"]


def migrate(folder: Path, *arguments: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
    environment = {**kept, "SPEECHPORTAL_DATA_DIR": str(folder)}
    ended = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.mark.parametrize("start", ["0001"])
def test_all_that_came_after_the_first_release_is_reversible(tmp_path: Path, start: str) -> None:
    migrate(tmp_path)
    with_history = [
        label
        for label in OWN_APPS
        if len(list((Path(apps.get_app_config(label).path) / "migrations").glob("0*.py"))) > 1
    ]
    assert "batches" in with_history
    for label in with_history:
        migrate(tmp_path, label, start)
    migrate(tmp_path)


# What migrations may refer to besides Django: plain functions that stay.
FROZEN = {
    "batches.field_defaults",
    "speechportal.platform.concurrent_indexes",
    "speechportal.accounts.field_defaults",
    "speechportal.storage.field_defaults",
}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def is_ours(module: str) -> bool:
    return module.split(".")[0] in {"batches", "domains", "speechportal"}


def test_migrations_import_no_live_code() -> None:
    paths = [
        path
        for label in [*OWN_APPS, "api"]
        for path in (Path(apps.get_app_config(label).path) / "migrations").glob("0*.py")
    ]
    assert len(paths) >= 6
    live = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in paths
        for module in imports_of(path)
        if is_ours(module) and module not in FROZEN
    }
    assert live == set()


@pytest.mark.parametrize("module", sorted(FROZEN))
def test_what_migrations_refer_to_imports_nothing_of_the_portal(module: str) -> None:
    path = ROOT / (module.replace(".", "/") + ".py")
    assert {each for each in imports_of(path) if is_ours(each)} == set()


def after_the_first_release() -> Iterator[Migration]:
    """Migrations since the first release, in the order in which an upgrade applies them."""
    loader = MigrationLoader(None)
    released: set[tuple[str, str]] = set()
    for app, name in RELEASES["0.1.0"].items():
        if name != "zero":
            released |= set(loader.graph.forwards_plan((app, name)))
    own = [node for node in loader.graph.leaf_nodes() if node[0] in {*OWN_APPS, "api"}]
    plan = dict.fromkeys(step for leaf in own for step in loader.graph.forwards_plan(leaf))
    yield from (loader.graph.nodes[step] for step in plan if step not in released and step[0] in OWN_APPS)


# Tables with a few rows for each person at most: reading all of one takes no time that anybody notices.
SMALL = {("accounts", "externalidentity"), ("accounts", "recoverycode")}


def blocking_operations(migrations: Iterable[Migration]) -> list[str]:
    """Operations that lock a table with rows while they read all of it: indexes and constraints."""
    new: set[tuple[str, str]] = set()
    found = []
    for migration in migrations:
        for operation in migration.operations:
            table = (migration.app_label, getattr(operation, "model_name", "").lower())
            if isinstance(operation, operations.CreateModel):
                new.add((migration.app_label, operation.name_lower))
            elif isinstance(operation, AddIndexConcurrently):
                assert not migration.atomic, f"{migration}: PostgreSQL builds no such index in a transaction"
            elif (
                isinstance(operation, (operations.AddIndex, operations.AddConstraint))
                and table not in new | SMALL
            ):
                found.append(f"{migration}: {operation.describe()}")
    return found


def test_upgrades_lock_no_table_for_long() -> None:
    assert blocking_operations(after_the_first_release()) == []


def test_a_blocking_operation_is_found_unless_its_table_is_new() -> None:
    class Example(Migration):
        operations: ClassVar = [
            operations.CreateModel("New", [("id", models.AutoField(primary_key=True))]),
            operations.AddIndex("new", models.Index(fields=["id"], name="of_new")),
            operations.AddIndex("task", models.Index(fields=["id"], name="of_task")),
        ]

    [found] = blocking_operations([Example("0002_example", "batches")])
    assert "of_task" in found
