"""Release workflow: valid, with few permissions, and consistent with the files that it names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from speechportal import __version__
from tests.programs import required

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"


def read() -> dict[Any, Any]:
    workflow: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text())
    return workflow


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_it_is_a_workflow() -> None:
    schema = ["--builtin-schema", "vendor.github-workflows"]
    checked = run(sys.executable, "-m", "check_jsonschema", *schema, str(WORKFLOW))
    assert checked.returncode == 0, checked.stdout


def test_an_auditor_finds_nothing() -> None:
    """Actions are those of GitHub alone, by tag: nobody else's code sees the tokens."""
    zizmor = Path(sys.executable).with_name("zizmor")
    found = run(str(zizmor), "--offline", "--no-progress", "--config", ".github/zizmor.yml", str(WORKFLOW))
    assert found.returncode == 0, found.stdout + found.stderr
    used = re.findall(r"uses: (\S+)", WORKFLOW.read_text())
    assert used
    assert all(each.startswith("actions/") for each in used)


def test_what_is_published_was_built_checked_and_scanned_before() -> None:
    names = [step.get("name", step.get("uses", "")) for step in read()["jobs"]["image"]["steps"]]
    order = [
        next(i for i, name in enumerate(names) if name.startswith(word))
        for word in ("Build", "It runs", "Scan", "Publish", "Sign")
    ]
    assert order == sorted(order)
    assert read()["jobs"]["chart"]["needs"] == "image"
    assert read()["permissions"] == {}


def test_shell_steps_are_shell() -> None:
    steps = [step for job in read()["jobs"].values() for step in job["steps"] if "run" in step]
    assert len(steps) >= 6
    for step in steps:
        checked = subprocess.run(
            [required("bash"), "-n"], input=step["run"], text=True, check=False, capture_output=True
        )
        assert checked.returncode == 0, checked.stderr
        assert "${{" not in step["run"], "values reach a shell by its environment"


def test_the_tag_is_compared_with_what_is_there() -> None:
    """The lines that the workflow looks for, as they are now or will be at the release."""
    assert (
        f'__version__ = "{__version__}"' in (ROOT / "speechportal" / "__init__.py").read_text().splitlines()
    )
    chart = (ROOT / ".deploy" / "helm" / "speechportal" / "Chart.yaml").read_text().splitlines()
    assert f'appVersion: "{__version__}"' in chart
    assert re.search(
        rf"^## {re.escape(__version__)} \((unreleased|20)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
