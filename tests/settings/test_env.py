from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from speechportal.env import Env, stored_secret
from speechportal.service_urls import database, redis


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from the file\n")
    assert Env({"SPEECHPORTAL_KEY_FILE": str(tmp_path / "key")}).text("KEY") == "from the file"


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a")
    env = Env({"SPEECHPORTAL_KEY": "b", "SPEECHPORTAL_KEY_FILE": str(tmp_path / "key")})
    with pytest.raises(ImproperlyConfigured, match="both set"):
        env.text("KEY")


def test_a_missing_file_is_named_by_its_variable() -> None:
    with pytest.raises(ImproperlyConfigured, match="SPEECHPORTAL_KEY_FILE"):
        Env({"SPEECHPORTAL_KEY_FILE": "/nowhere/at/all"}).text("KEY")


@pytest.mark.parametrize(("text", "value"), [("1", True), ("no", False), ("True", True), ("", True)])
def test_flags(text: str, *, value: bool) -> None:
    assert Env({"SPEECHPORTAL_F": text}).flag("F", default=True) is value


@pytest.mark.parametrize(
    "read",
    [
        lambda env: env.flag("X", default=False),
        lambda env: env.integer("X", 1),
        lambda env: env.choice("X", "a", ("a", "b")),
        lambda env: env.networks("X"),
        lambda env: env.ports("X", "80"),
    ],
)
def test_nonsense_is_refused_by_name(read) -> None:  # type: ignore[no-untyped-def] # three kinds of lambda
    with pytest.raises(ImproperlyConfigured, match="SPEECHPORTAL_X"):
        read(Env({"SPEECHPORTAL_X": "nonsense"}))


def test_networks_and_ports() -> None:
    env = Env({"SPEECHPORTAL_N": "10.1.0.0/16, ::1", "SPEECHPORTAL_P": "any", "SPEECHPORTAL_Q": "0"})
    assert env.networks("N") == ["10.1.0.0/16", "::1"]
    assert env.networks("UNSET") == []
    assert env.ports("UNSET", "80,443") == [80, 443]
    assert env.ports("P", "80") == []
    with pytest.raises(ImproperlyConfigured, match="SPEECHPORTAL_Q"):
        env.ports("Q", "80")


def test_a_number_below_its_minimum_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="at least 5"):
        Env({"SPEECHPORTAL_N": "4"}).integer("N", 10, minimum=5)


def test_database_addresses() -> None:
    postgres = database("postgresql://me:p%40ss@db.example:5433/portal?sslmode=require")
    assert (postgres["USER"], postgres["PASSWORD"], postgres["HOST"], postgres["PORT"], postgres["NAME"]) == (
        "me",
        "p@ss",
        "db.example",
        "5433",
        "portal",
    )
    assert isinstance(postgres["OPTIONS"], dict)
    assert postgres["OPTIONS"]["sslmode"] == "require"
    assert database("sqlite:////data/portal.sqlite3")["NAME"] == "/data/portal.sqlite3"
    with pytest.raises(ImproperlyConfigured, match="mysql"):
        database("mysql://somewhere/else")


def test_a_lost_machine_is_noticed_unless_the_address_says_otherwise() -> None:
    usual = database("postgresql://me@db/portal")["OPTIONS"]
    own = database("postgresql://me@db/portal?connect_timeout=3&options=-c+work_mem%3D64MB")["OPTIONS"]
    assert isinstance(usual, dict)
    assert isinstance(own, dict)
    assert (usual["connect_timeout"], own["connect_timeout"]) == ("10", "3")
    assert "tcp_keepalives_idle" in usual["options"]
    assert own["options"] == "-c work_mem=64MB"
    assert "socket_timeout=10" in redis("redis://:p%40ss@queue:6379/0")
    assert redis("redis://:p%40ss@queue:6379/0").startswith("redis://:p%40ss@queue:6379/0?")
    assert "socket_timeout=2" in redis("redis://queue/0?socket_timeout=2")
    assert redis("unix:///run/redis.sock?db=1") == "unix:///run/redis.sock?db=1"


def test_a_stored_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    assert stored_secret(path, "first") == "first"
    assert stored_secret(path, "second") == "first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_what_production_requires_is_optional_elsewhere() -> None:
    assert Env({}).text("KEY", "made", required=True) == "made"
    with pytest.raises(ImproperlyConfigured, match="SPEECHPORTAL_KEY_FILE"):
        Env({}, production=True).text("KEY", "made", required=True)
    with pytest.raises(ImproperlyConfigured, match="Set SPEECHPORTAL_KEYS"):
        Env({"SPEECHPORTAL_KEYS": " , "}, production=True).words("KEYS", required=True)


def test_each_setting_is_kept_with_what_the_reference_says_of_it() -> None:
    env = Env({"SPEECHPORTAL_N": "7"})
    env.section = "queue"
    env.integer("N", 3, minimum=2, description="Workers.")
    setting = env.settings["N"]
    assert (setting.variable, setting.kind, setting.shown_default, setting.minimum) == (
        "SPEECHPORTAL_N",
        "integer",
        "3",
        2,
    )
    assert (setting.section, str(setting.description)) == ("queue", "Workers.")
