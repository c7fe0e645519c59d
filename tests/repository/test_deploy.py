"""Container image, compose file and systemd units refer only to existing files, commands and settings."""

from __future__ import annotations

import configparser
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from django.core.management import get_commands
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from speechportal import __version__
from speechportal.platform.supervisor import NAMES
from speechportal.service_urls import database
from speechportal.settings import env

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / ".deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
ANALYZE = shutil.which("systemd-analyze") or ""
FILES = [DEPLOY / "Dockerfile", DEPLOY / "compose.yaml", *UNITS]


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_setting_is_one(file: Path) -> None:
    named = set(re.findall(r"SPEECHPORTAL_(\w+)", file.read_text()))
    assert named
    assert {name.removesuffix("_FILE") for name in named} <= set(env.names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_command_and_service_is_one(file: Path) -> None:
    text = file.read_text().replace('"', "").replace(",", "")
    commands = re.findall(r"manage\.py (\w+)", text) + re.findall(r"(?:command: |CMD )\[(run)\b", text)
    assert commands
    assert set(commands) <= set(get_commands())
    for names in re.findall(r"--only ((?:\w+ ?)+)", text):
        assert set(names.split()) <= set(NAMES)


def test_together_the_hosts_run_everything() -> None:
    started = [service.get("command", []) for service in compose()["services"].values()]
    assert {word for command in started for word in command} >= set(NAMES)
    units = " ".join(unit.read_text() for unit in UNITS)
    assert all(re.search(rf"--only .*\b{name}\b", units) for name in NAMES)


def test_compose_gives_what_production_requires() -> None:
    required = [setting.name for setting in env.settings.values() if setting.required]
    assert len(required) >= 5
    given = {name.removesuffix("_FILE") for name in compose()["x-portal"]["environment"]}
    assert {f"SPEECHPORTAL_{name}" for name in required} <= given


def test_what_compose_refers_to_is_defined() -> None:
    read = compose()
    for name, service in read["services"].items():
        assert set(service.get("secrets", [])) <= set(read["secrets"]), name
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert volumes <= set(read["volumes"]), name
        assert set(service.get("depends_on", {})) <= set(read["services"]), name


def test_secrets_come_neither_into_the_image_nor_into_git() -> None:
    folders = {f".deploy/{each['file'].partition('/')[0]}" for each in compose()["secrets"].values()}
    assert folders == {".deploy/secrets"}
    kept_out = (ROOT / ".dockerignore").read_text().splitlines()
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for place in (*folders, ".deploy/.env"):
        assert place in kept_out
        assert {f"/{place}", f"/{place}/"} & set(ignored)


def test_the_image_s_user_may_write_into_its_volumes() -> None:
    """A folder that the image lacks would be created with root as its owner."""
    made = re.findall(r"(?:--home-dir|--owner=portal) (/\w+)", (DEPLOY / "Dockerfile").read_text())
    services = [each for each in compose()["services"].values() if each.get("image") == "speechportal"]
    mounted = {volume.partition(":")[2] for each in services for volume in each["volumes"]}
    assert mounted
    assert mounted <= set(made)


SERVICES = [unit for unit in UNITS if "Type=oneshot" not in unit.read_text()]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda file: file.name)
def test_a_unit_stops_its_processes_in_order_and_confines_them(unit: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment] # systemd's names have capitals
    parser.read(unit)
    service = parser["Service"]
    assert service["KillMode"] == "mixed"
    assert service["NoNewPrivileges"] == "true"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert service["ProtectSystem"] == "strict"
    assert service["SystemCallFilter"].startswith("@system-service")
    assert service["MemoryMax"]
    assert service["TasksMax"]
    # A worker may need the machine's cards.
    assert service.get("PrivateDevices") == "true" or unit.stem == "speechportal-worker"
    assert parser["Install"]["WantedBy"] == "multi-user.target"


def test_the_worker_s_unit_makes_the_device_that_cuda_may_not_make() -> None:
    """CUDA calls the setuid program nvidia-modprobe for it, which NoNewPrivileges makes powerless."""
    lines = (DEPLOY / "systemd" / "speechportal-worker.service").read_text().splitlines()
    assert "NoNewPrivileges=true" in lines
    # "-": a machine without the program starts too. "+": as root, without the unit's restrictions.
    assert lines.index("ExecStartPre=-+/usr/bin/nvidia-modprobe -c0 -u") < lines.index("NoNewPrivileges=true")


def test_each_timer_starts_a_unit_that_there_is() -> None:
    timers = list((DEPLOY / "systemd").glob("*.timer"))
    assert timers
    assert all(timer.with_suffix(".service") in UNITS for timer in timers)


@pytest.mark.skipif(not ANALYZE, reason="systemd's own judgement needs its programs")
@pytest.mark.parametrize("unit", UNITS, ids=lambda file: file.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    # It looks for the programs, which are here instead.
    copy.write_text(unit.read_text().replace("/opt/speechportal/.venv/bin/python", sys.executable))
    told = subprocess.run([ANALYZE, "verify", str(copy)], capture_output=True, text=True, check=False)
    mine = [line for line in (told.stdout + told.stderr).splitlines() if unit.name in line]
    assert (told.returncode, mine) == (0, [])


def test_the_lock_file_holds_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    wanted = [*project["dependencies"], *optional["dev"], *optional["swift"], *optional["redis"]]
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in lines}
    for requirement in map(Requirement, wanted):
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in requirements.lock: run `make lock`"
        assert requirement.specifier.contains(version), requirement


def test_containers_of_the_portal_are_hardened_and_limited() -> None:
    services = compose()["services"]
    ours = {name: each for name, each in services.items() if each["image"].startswith("speechportal")}
    assert set(ours) == {"setup", "web", "worker", "gpu-worker"}
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert name == "setup" or "mem_limit" in service, name
    assert all("no-new-privileges:true" in each["security_opt"] for each in services.values())


def test_cards_are_reserved_by_the_profile_that_asks_for_them() -> None:
    worker = compose()["services"]["gpu-worker"]
    assert worker["profiles"] == ["gpu"]
    assert worker["build"]["args"] == {"TORCH": "cuda"}
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert worker["environment"]["SPEECHPORTAL_RECOGNITION_DEVICE"] == "cuda"


def install(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the installer, up to the point where Docker is needed."""
    command = [str(folder / "install"), "--prepare-only", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_the_installer_writes_secrets_once_and_settings_that_compose_takes(tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    folder.mkdir()
    shutil.copy(DEPLOY / "install", folder)
    assert "Give the host name" in install(folder).stderr
    assert "no host name" in install(folder, "--host", "a b; rm").stderr
    made = install(folder, "--host", "portal.example.com", "--gpu", "yes")
    assert made.returncode == 0, made.stderr
    secrets = {path.name: path.read_text() for path in (folder / "secrets").iterdir()}
    assert set(secrets) == set(compose()["secrets"])
    assert stat.S_IMODE((folder / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    Fernet(secrets["encryption_keys"].encode())  # raises for what is no key
    assert database(secrets["database_url"])["PASSWORD"] == secrets["database_password"]
    assert len({*secrets.values()}) == len(secrets)
    settings = dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())
    assert settings["SPEECHPORTAL_ALLOWED_HOSTS"] == "portal.example.com"
    assert settings["COMPOSE_PROFILES"] == "gpu,tls"
    asked = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    assert asked <= set(settings)
    assert 1 <= int(settings["SPEECHPORTAL_RECOGNITION_WORKERS"]) <= len(os.sched_getaffinity(0))
    assert re.fullmatch(r"[0-9]+g", settings["WORKER_MEMORY"])
    # Options that disagree with the settings are not passed over in silence.
    before = (folder / ".env").read_text()
    assert "PORTAL_HOST in .deploy/.env is portal" in install(folder, "--host", "other.example.com").stderr
    assert "decides about TLS" in install(folder, "--tls", "no").stderr
    assert "decides about cards" in install(folder, "--gpu", "no").stderr
    assert "--tls is yes or no" in install(folder, "--tls", "off").stderr
    assert "--gpu is auto, yes or no" in install(folder, "--gpu", "2").stderr
    assert (folder / ".env").read_text() == before
    assert install(folder, "--host", "portal.example.com", "--gpu", "auto", "--tls", "yes").returncode == 0
    # Again: nothing that is there changes, and the host name is not asked for.
    again = install(folder)
    assert again.returncode == 0, again.stderr
    assert {path.name: path.read_text() for path in (folder / "secrets").iterdir()} == secrets


def test_a_command_of_the_units_installation_reads_their_settings(tmp_path: Path) -> None:
    """`.deploy/systemd/manage`, with the parts that an installation has."""
    folder = tmp_path / "opt"
    (folder / ".deploy" / "systemd").mkdir(parents=True)
    shutil.copy(DEPLOY / "systemd" / "manage", folder / ".deploy" / "systemd")
    (folder / ".venv" / "bin").mkdir(parents=True)
    python = folder / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$@"; pwd; env\n')
    python.chmod(0o755)
    settings = tmp_path / "portal.env"
    settings.write_text('# settings\nSPEECHPORTAL_ALLOWED_HOSTS="a.example"\nSPEECHPORTAL_CURRENCY=KRW')
    user = pwd.getpwuid(os.getuid()).pw_name
    environ = {"PATH": os.environ["PATH"], "PORTAL_ENV_FILE": str(settings), "PORTAL_USER": user}
    command = [str(folder / ".deploy" / "systemd" / "manage"), "doctor", "--json"]

    def run(**given: str) -> subprocess.CompletedProcess[str]:
        env = {**environ, "SPEECHPORTAL_MODE": "embedded", **given}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    ran = run()
    assert ran.returncode == 0, ran.stderr
    told = ran.stdout.splitlines()
    assert told[:2] == ["manage.py doctor --json", str(folder)]
    assert {
        "SPEECHPORTAL_MODE=production",
        "SPEECHPORTAL_DATA_DIR=/var/lib/speechportal",
        "SPEECHPORTAL_ALLOWED_HOSTS=a.example",
        "SPEECHPORTAL_CURRENCY=KRW",
    } <= set(told)
    assert "cannot be read" in run(PORTAL_ENV_FILE=str(tmp_path / "none")).stderr
    settings.write_text("nonsense\n")
    assert "no setting: nonsense" in run().stderr


@pytest.mark.parametrize(
    ("group", "build", "words"), [("runtime", "cpu", "0.9 GB"), ("development", "cuda", "3.4 GB")]
)
def test_what_will_be_fetched_is_said_first(group: str, build: str, words: str) -> None:
    program = DEPLOY / "install_packages.py"
    told = subprocess.run(
        [sys.executable, str(program), group, "--torch", build, "--plan"],
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = told.stdout.splitlines()
    assert build.upper() in line
    assert f"up to {words} to fetch" in line


def install_packages() -> Any:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("install_packages", DEPLOY / "install_packages.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_another_build_of_torch_brings_the_libraries_that_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The new build does not even import until they are there."""
    module, asked = install_packages(), []
    monkeypatch.delenv("TORCH_INDEX", raising=False)

    def pip(*arguments: str) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr(module, "pip", pip)
    monkeypatch.setattr(module, "installed_build", lambda: ("cpu", "", "cuda")[len(asked)])
    module.install_torch("cuda", required=False)
    first, second = asked
    assert "--force-reinstall" in first
    assert "--no-deps" in first
    assert second == ("install", first[-1])


def test_running_needs_no_package_of_development() -> None:
    module = install_packages()
    names = {canonicalize_name(Requirement(line).name) for line in module.requirements("runtime", [])}
    assert {"django", "torch", "openai-whisper", "redis"} <= names
    assert not {"pytest", "mypy", "swift", "moto"} & names
    assert "swift" in {Requirement(line).name for line in module.requirements("runtime", ["swift"])}
    with pytest.raises(SystemExit, match="no extra nonsense"):
        module.requirements("runtime", ["nonsense"])


def test_the_version_is_the_same_everywhere() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "speechportal.cli.main", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == f"speechportal {__version__}"
    assert f"ARG VERSION={__version__}\n" in (DEPLOY / "Dockerfile").read_text()
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
