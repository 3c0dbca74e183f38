"""The Helm chart: linted, rendered, checked against Kubernetes' schemas, and its settings used.

Nothing is installed into a cluster.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.fork_server import ROOT
from tests.support.running import waystation

CHART = ROOT / "deploy" / "helm" / "waystation"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
FOUND = all(shutil.which(each, path=PATH) for each in ("helm", "kubernetes-validate"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOUND, reason="helm or kubernetes-validate is not installed"),
]

FULL: dict[str, Any] = {
    "storage": {"files": "s3://packages/main", "records": "redis://valkey:6379/0"},
    "settings": 'reserved = ["acme-*"]\n\n[policies.young]\nkind = "cooldown"\nage = "7d"\n',
    "secretName": "store-keys",
    "env": [{"name": "WAYSTATION_PUBLIC_URL", "value": "https://packages.example.com"}],
    "imagePullSecrets": [{"name": "registry"}],
    "cache": {"size": "80Gi", "medium": "Memory"},
    "drainDelay": 10,
    "autoscaling": {"enabled": True, "targetRequestsInFlight": 100},
    "networkPolicy": {
        "enabled": True,
        "from": [{"namespaceSelector": {}}],
        "to": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 6379}]}],
    },
    "serviceAccount": {"annotations": {"example.com/role": "store"}},
    "service": {"annotations": {"example.com/internal": "true"}},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}
VALUES: Mapping[str, dict[str, Any]] = {
    "default values": {},
    "all options": FULL,
    "as little as possible": {
        "serviceAccount": {"create": False},
        "disruptionBudget": {"enabled": False},
        "podAnnotations": {},
    },
}


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [*map(str, command)],
        env=os.environ | {"PATH": PATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(params=list(VALUES.values()), ids=list(VALUES))
def values(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "values.yaml"
    path.write_text(json.dumps(request.param))  # JSON is YAML
    return path


def manifests(values: Path) -> dict[str, Any]:
    """The rendered objects, by kind."""
    text = run("helm", "template", "packages", CHART, "--values", values)
    return {each["kind"]: each for each in yaml.safe_load_all(text) if each}


def container(deployment: Any) -> Any:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return only


def variables(deployment: Any) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(deployment)["env"]}


def test_the_chart_has_no_faults(values: Path) -> None:
    run("helm", "lint", "--strict", CHART, "--values", values)


@pytest.mark.parametrize("version", ["1.27.0", "1.37.0"])
def test_manifests_are_what_kubernetes_knows(values: Path, tmp_path: Path, version: str) -> None:
    text = run("helm", "template", "packages", CHART, "--values", values)
    rendered = tmp_path / "manifests.yaml"
    rendered.write_text(text)
    checked = run("kubernetes-validate", "--strict", "-k", version, rendered)
    assert checked.count(" passed ") == len(re.findall("^kind: ", text, re.MULTILINE))


def test_a_key_that_kubernetes_does_not_know_is_found(tmp_path: Path) -> None:
    text = run("helm", "template", "packages", CHART)
    rendered = tmp_path / "manifests.yaml"
    rendered.write_text(text.replace("readinessProbe:", "readynessProbe:"))
    with pytest.raises(AssertionError, match="readynessProbe"):
        run("kubernetes-validate", "--strict", rendered)


async def test_the_settings_of_the_manifests_are_accepted(values: Path, tmp_path: Path) -> None:
    found = manifests(values)
    settings = tmp_path / "waystation.toml"
    settings.write_text(found["ConfigMap"]["data"]["waystation.toml"])
    env = variables(found["Deployment"]) | {"WAYSTATION_CACHE_DIR": str(tmp_path / "cache")}
    command = ("check", "--no-network", "--config", settings)
    done = (await waystation(*command, cwd=tmp_path, **env)).succeeded()
    assert re.search(rf"drain_delay = {env['WAYSTATION_DRAIN_DELAY']}\b", done.out), done.out


def test_settings_reach_the_container(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(json.dumps(FULL))
    found = manifests(path)
    assert found["ConfigMap"]["data"]["waystation.toml"].strip() == FULL["settings"].strip()
    assert json.loads(variables(found["Deployment"])["WAYSTATION_STORAGE"]) == FULL["storage"]
    assert "replicas" not in found["Deployment"]["spec"]  # or each upgrade would undo the scaling
    metrics = found["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert [each["type"] for each in metrics] == ["Resource", "Pods"]


def test_a_pod_has_the_time_that_it_needs_to_stop(values: Path) -> None:
    found = manifests(values)["Deployment"]
    given = found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    env = variables(found)
    delay, grace = (float(env[f"WAYSTATION_{name}"]) for name in ("DRAIN_DELAY", "SHUTDOWN_GRACE"))
    assert given > delay + 2 * grace  # once for responses, once for downloads


def test_a_pod_needs_no_right_and_writes_to_its_volume_only(values: Path) -> None:
    found = manifests(values)["Deployment"]["spec"]["template"]["spec"]
    (only,) = found["containers"]
    assert found["securityContext"]["runAsNonRoot"]
    assert only["securityContext"]["readOnlyRootFilesystem"]
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    writable = [each["mountPath"] for each in only["volumeMounts"] if not each.get("readOnly")]
    assert writable == ["/cache"]
