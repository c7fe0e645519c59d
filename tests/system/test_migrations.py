"""Every migration can be taken back, and comes again: a release that fails can be undone."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader

from speechportal.platform.concurrent_indexes import AddIndexUnderLoad
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


# What migrations may refer to besides Django and operations of migrations: plain functions that stay.
FROZEN = {"batches.field_defaults", "speechportal.accounts.field_defaults"}
OPERATIONS = {"speechportal.platform.concurrent_indexes"}


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
        if is_ours(module) and module not in FROZEN | OPERATIONS
    }
    assert live == set()


@pytest.mark.parametrize("module", sorted(FROZEN))
def test_what_migrations_refer_to_imports_nothing_of_the_portal(module: str) -> None:
    path = ROOT / (module.replace(".", "/") + ".py")
    assert {each for each in imports_of(path) if is_ours(each)} == set()


def after_the_first_release() -> Iterator[Migration]:
    """What an installation with many rows goes through when it is upgraded, in order."""
    loader = MigrationLoader(None)
    released: set[tuple[str, str]] = set()
    for app, name in RELEASES["0.1.0"].items():
        if name != "zero":
            released |= set(loader.graph.forwards_plan((app, name)))
    own = [node for node in loader.graph.leaf_nodes() if node[0] in {*OWN_APPS, "api"}]
    plan = dict.fromkeys(step for leaf in own for step in loader.graph.forwards_plan(leaf))
    yield from (loader.graph.nodes[step] for step in plan if step not in released and step[0] in OWN_APPS)


def test_no_upgrade_holds_up_who_writes() -> None:
    """Indexes on tables with rows are built beside the work; no constraint looks at each row under a lock."""
    new: set[tuple[str, str]] = set()
    wrong = []
    for migration in after_the_first_release():
        for operation in migration.operations:
            table = (migration.app_label, getattr(operation, "model_name", "").lower())
            if isinstance(operation, operations.CreateModel):
                new.add((migration.app_label, operation.name_lower))
            elif isinstance(operation, AddIndexUnderLoad):
                assert not migration.atomic, migration
            elif isinstance(operation, (operations.AddIndex, operations.AddConstraint)) and table not in new:
                wrong.append(f"{migration}: {operation.describe()}")
    assert wrong == []
