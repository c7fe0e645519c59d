"""The alert rules and the dashboard name metrics that the portal has, with values that they take."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from batches.models import ServedModel
from batches.tasks import model_hosts
from batches.tasks.model_hosts import HostFault
from speechportal.platform import metrics
from tests import factories

pytestmark = pytest.mark.django_db
DEPLOY = Path(__file__).resolve().parents[2] / ".deploy"
PROMTOOL = shutil.which("promtool") or ""
SELECTOR = re.compile(r"(speechportal_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "speechportal.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*found, *(rule["expr"] for rule in rules())]


def emitted() -> dict[str, set[frozenset[tuple[str, str]]]]:
    """Label sets by metric, of an installation where something has happened."""
    batch = factories.make_batch()
    factories.make_task(batch, state="failed")
    model_hosts.report("cpu-1")
    metrics.forget()
    found: dict[str, set[frozenset[tuple[str, str]]]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        found.setdefault(family.name, set())
        for sample in family.samples:
            found[family.name].add(frozenset(sample.labels.items()))
    return found


def test_every_query_names_metrics_and_labels_that_there_are() -> None:
    known = emitted()
    selectors = [match.groups() for query in queries() for match in SELECTOR.finditer(query)]
    assert len(selectors) >= 20
    for name, labels in selectors:
        assert name in known, name
        given = {label for pairs in known[name] for label, _value in pairs}
        values = {value for pairs in known[name] for _label, value in pairs}
        for label, operator, value in MATCHER.findall(labels or ""):
            assert not given or label in given, (name, label)
            # Causes are there once something has failed by them; all else always.
            if label in {"state", "cluster"} and operator == "=":
                assert value in values, (name, value)


def test_each_alert_says_what_happened_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules()) >= 10
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].rstrip(".") != rule["annotations"]["description"].rstrip(".")


@pytest.mark.skipif(not PROMTOOL, reason="Prometheus' own judgement needs promtool")
def test_promtool_finds_nothing_wrong() -> None:
    told = subprocess.run(
        [PROMTOOL, "check", "rules", str(DEPLOY / "prometheus" / "alerts.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_hosts_are_counted_by_whether_they_can_work() -> None:
    model_hosts.report("cpu-1")
    model_hosts.report("cpu-2", fault=HostFault("work_disk_full", "3 MB are free."))
    assert ServedModel.objects.filter(host="cpu-2").exclude(fault="").exists()
    metrics.forget()
    text = metrics.text().decode()
    assert 'speechportal_hosts{state="able"} 1.0' in text
    assert 'speechportal_hosts{state="fault"} 1.0' in text
