"""Helm chart: rendered by Helm, and validated against Kubernetes' schemas."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from django.core.management import get_commands

from speechportal import __version__
from speechportal.platform.supervisor import NAMES
from speechportal.settings import env

CHART = Path(__file__).resolve().parents[2] / ".deploy" / "helm" / "speechportal"
NEEDED = {"hosts": ["portal.example.com", "calls.example.com"], "secretName": "portal"}
EVERYTHING: dict[str, Any] = {
    **NEEDED,
    "settings": {"MAX_ATTEMPTS": "4"},
    "imagePullSecrets": [{"name": "registry"}],
    "models": {"create": True, "storageClass": "nfs"},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "portal-tls", "annotations": {"a": "b"}},
    "networkPolicy": {"from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
    "workers": {
        "cpu": {"autoscaling": {"enabled": True, "waitingMinutes": 30}, "nodeSelector": {"disk": "ssd"}},
        "gpu": {"enabled": True},
    },
}
Manifest = dict[str, Any]


def rendered(values: Manifest) -> list[Manifest]:
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values, name="demo", namespace="calls")
    documents = [
        each for name, text in files.items() if name.endswith(".yaml") for each in yaml.safe_load_all(text)
    ]
    return [each for each in documents if each]


def named(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    prefix = "demo-speechportal-"
    return {each["metadata"]["name"].removeprefix(prefix): each for each in manifests if each["kind"] == kind}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    found = named(manifests, "Deployment") | named(manifests, "Job")
    return {name: each["spec"]["template"]["spec"] for name, each in found.items()}


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def environ(container: Manifest) -> dict[str, str]:
    return {each["name"].removeprefix("SPEECHPORTAL_"): each["value"] for each in container["env"]}


@pytest.mark.parametrize("version", ["1.27", "1.31", "1.34"])
@pytest.mark.parametrize("values", [NEEDED, EVERYTHING], ids=["least", "everything"])
def test_every_manifest_is_valid(values: Manifest, version: str) -> None:
    manifests = rendered(values)
    assert len(manifests) >= 10
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(set(names)) == len(names)


def test_helm_finds_nothing_wrong(tmp_path: Path) -> None:
    """Its own values are checked too, so those that have no default are written into a copy."""
    copy = tmp_path / "speechportal"
    shutil.copytree(CHART, copy)
    text = (copy / "values.yaml").read_text()
    text = text.replace("hosts: []", "hosts: [portal.example.com]").replace(
        'secretName: ""', "secretName: portal"
    )
    (copy / "values.yaml").write_text(text)
    worse = [each for each in helm_python.lint(copy)["messages"] if each["severity"] > 1]
    assert worse == []


def test_together_the_pods_run_everything() -> None:
    found = pods(rendered(EVERYTHING))
    assert set(found) == {"web", "short", "deliveries", "worker-cpu", "worker-gpu", "migrate"}
    started = {word for pod in found.values() for word in pod["containers"][0]["args"]}
    assert started >= set(NAMES)
    for pod in found.values():
        for container in containers(pod):
            assert container["args"][0] in get_commands()
            assert set(environ(container)) <= {f"{name}{end}" for name in env.names for end in ("", "_FILE")}


def test_every_pod_gets_what_production_requires() -> None:
    required = {setting.name for setting in env.settings.values() if setting.required}
    assert len(required) >= 5
    for name, pod in pods(rendered(EVERYTHING)).items():
        for container in containers(pod):
            given = environ(container)
            assert required <= {each.removesuffix("_FILE") for each in given}, name
            assert given["ALLOWED_HOSTS"] == "portal.example.com,calls.example.com"
            assert given["MAX_ATTEMPTS"] == "4"
            mounted = {each["mountPath"] for each in container["volumeMounts"]}
            for setting, value in given.items():
                if setting.endswith("_FILE"):
                    assert value.startswith("/run/secrets/portal/")
            assert {"/run/secrets/portal", "/data", "/tmp"} <= mounted
            assert {each["name"] for each in container["volumeMounts"]} <= {
                each["name"] for each in pod["volumes"]
            }


def test_pods_are_hardened_and_limited() -> None:
    for name, pod in pods(rendered(EVERYTHING)).items():
        assert pod["automountServiceAccountToken"] is False
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 1000)
        for container in containers(pod):
            given = container["securityContext"]
            assert given["readOnlyRootFilesystem"] is True, name
            assert given["allowPrivilegeEscalation"] is False, name
            assert given["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name


def test_migrations_run_before_anything_of_a_release() -> None:
    job = named(rendered(NEEDED), "Job")["migrate"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    # Of what the release brings nothing is there yet.
    volumes = job["spec"]["template"]["spec"]["volumes"]
    assert [set(each) - {"name"} for each in volumes] == [{"secret"}, {"emptyDir"}, {"emptyDir"}]


def test_workers_follow_the_waiting_minutes() -> None:
    manifests = rendered(EVERYTHING)
    scaler = named(manifests, "HorizontalPodAutoscaler")["worker-cpu"]["spec"]
    (metric,) = scaler["metrics"]
    assert metric["external"]["target"]["averageValue"] == "30"
    metrics = (CHART.parents[2] / "batches" / "operations" / "metrics.py").read_text()
    assert f'gauge("{metric["external"]["metric"]["name"].removeprefix("speechportal_")}"' in metrics
    workers = named(manifests, "Deployment")
    assert "replicas" not in workers["worker-cpu"]["spec"], "an upgrade would reset what the scaler has set"
    assert workers["worker-gpu"]["spec"]["replicas"] == 1
    keda = rendered({**EVERYTHING, "autoscaling": {"kind": "keda", "prometheus": "http://prometheus:9090"}})
    (trigger,) = named(keda, "ScaledObject")["worker-cpu"]["spec"]["triggers"]
    assert trigger["metadata"]["query"] == "max(speechportal_waiting_media_minutes)"
    with pytest.raises(helm_python.HelmError, match="URL of Prometheus"):
        rendered({**EVERYTHING, "autoscaling": {"kind": "keda"}})


def test_workers_with_cards_run_the_image_that_has_cuda() -> None:
    found = pods(rendered(EVERYTHING))
    gpu = found["worker-gpu"]["containers"][0]
    assert gpu["image"] == f"speechportal:{__version__}-cuda"
    assert environ(gpu)["RECOGNITION_DEVICE"] == "cuda"
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {each["image"] for name in ("web", "worker-cpu") for each in containers(found[name])} == {
        f"speechportal:{__version__}"
    }


def test_only_the_web_pods_are_reached_and_some_always_stay() -> None:
    manifests = rendered(EVERYTHING)
    policies = named(manifests, "NetworkPolicy")
    assert "ingress" not in policies["closed"]["spec"]
    (rule,) = policies["web"]["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]
    assert rule["from"] == EVERYTHING["networkPolicy"]["from"]
    labels = {
        name: each["spec"]["template"]["metadata"]["labels"]
        for name, each in named(manifests, "Deployment").items()
    }
    budgets = named(manifests, "PodDisruptionBudget")
    assert set(budgets) == {"web", "worker-cpu", "worker-gpu"}
    for name, each in {**budgets, "web-service": None}.items():
        if each is not None:
            wanted = each["spec"]["selector"]["matchLabels"].items()
            assert [found for found in labels if wanted <= labels[found].items()] == [name]
    (service,) = (each for each in manifests if each["kind"] == "Service")
    wanted = service["spec"]["selector"].items()
    assert [found for found in labels if wanted <= labels[found].items()] == ["web"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "hosts"),
        ({**NEEDED, "secretName": ""}, "secretName"),
        ({**NEEDED, "hosts": ["a b"]}, "hosts"),
        ({**NEEDED, "settings": {"SPEECHPORTAL_MAX_ATTEMPTS": "4"}}, "invalid propertyName"),
        ({**NEEDED, "settings": {"MAX_ATTEMPTS": 3}}, "settings"),
        ({**NEEDED, "autoscaling": {"kind": "magic"}}, "kind"),
    ],
)
def test_wrong_values_are_refused(values: Manifest, words: str) -> None:
    with pytest.raises(helm_python.HelmError, match=words):
        rendered(values)


def test_the_chart_has_the_version_of_the_portal() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    assert re.fullmatch(r"\d+\.\d+\.\d+", chart["version"])
