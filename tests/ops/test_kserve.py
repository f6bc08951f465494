"""KServe's manifest by its models and Kubernetes' schema, and as the same pod as deploy/kubernetes has."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from gateway.settings import Settings
from stack.layout import ROOT, Ports
from tests.gateway.variables import VARIABLES
from tests.ops.kubernetes_manifests import (
    FOLDER,
    KUSTOMIZATION,
    PODS,
    WRITTEN,
    Document,
    Pod,
    errors,
    let_in,
    of_kind,
    one,
    read,
)

FILE = ROOT / "deploy/kserve/inference-service.yaml"
DOCUMENTS = read(FILE)
[SERVICE] = of_kind(DOCUMENTS, "InferenceService")
PREDICTOR = SERVICE["spec"]["predictor"]
LABELS = {"serving.kserve.io/inferenceservice": SERVICE["metadata"]["name"]}
"""KServe gives it to the pods."""
POD = Pod("predictor", LABELS, PREDICTOR)
SCALING = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "deploymentStrategy"}
KUBERNETES = PODS["gateway"]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in POD.environment("kserve-container", {}).items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_it_is_what_kserve_and_kubernetes_take() -> None:
    assert [error for document in DOCUMENTS for error in errors(document)] == []
    assert [document["kind"] for document in DOCUMENTS] == ["InferenceService", "NetworkPolicy"]


@pytest.mark.parametrize(("place", "field"), [("predictor", "minReplica"), ("container", "volumeMount")])
def test_the_schema_refuses_fields_that_kserve_does_not_know(place: str, field: str) -> None:
    wrong = deepcopy(SERVICE)
    places: dict[str, Document] = {
        "predictor": wrong["spec"]["predictor"],
        "container": wrong["spec"]["predictor"]["containers"][0],
    }
    places[place][field] = 1
    [error] = errors(wrong)
    assert f"'{field}' was unexpected" in error


def test_it_needs_no_knative() -> None:
    assert SERVICE["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Standard"}


def test_the_pod_is_restricted() -> None:
    assert POD.not_restricted() == []


def test_torchserve_is_the_one_of_kubernetes() -> None:
    [here], [there] = PREDICTOR["initContainers"], KUBERNETES.spec["initContainers"]
    assert here | {"image": there["image"]} == there


def test_the_gateway_differs_in_its_name_and_variables_alone() -> None:
    [here], [there] = PREDICTOR["containers"], KUBERNETES.spec["containers"]
    assert here["name"] == "kserve-container"  # by which KServe knows what serves
    assert here | {key: there[key] for key in ("name", "image", "env")} == there


def test_the_rest_of_the_pod_is_the_one_of_kubernetes() -> None:
    differs = {"initContainers", "containers", "topologySpreadConstraints", "serviceAccountName"}
    here = {key: value for key, value in PREDICTOR.items() if key not in differs | SCALING}
    assert here == {key: value for key, value in KUBERNETES.spec.items() if key not in differs}
    spread = PREDICTOR["topologySpreadConstraints"]
    bare = [{**each, "labelSelector": None} for each in KUBERNETES.spec["topologySpreadConstraints"]]
    assert [{**each, "labelSelector": None} for each in spread] == bare
    assert all(POD.matches(each["labelSelector"]) for each in spread)


def test_every_variable_is_one_that_the_gateway_reads(settings: Settings) -> None:
    assert set(POD.environment("kserve-container", {})) - set(VARIABLES) == set()
    assert settings.needs_key()
    assert settings.redis_url is None
    assert settings.drift_file == Path()  # nothing is written
    assert str(settings.torchserve_url) == f"http://127.0.0.1:{Ports().inference}/"


def test_it_scales_as_with_kubernetes() -> None:
    scaler = one(WRITTEN, "HorizontalPodAutoscaler", "gateway")["spec"]
    assert {key: PREDICTOR[key] for key in ("minReplicas", "maxReplicas")} == {
        key: scaler[key] for key in ("minReplicas", "maxReplicas")
    }
    [busy] = [each["containerResource"] for each in scaler["metrics"] if each["type"] == "ContainerResource"]
    assert (PREDICTOR["scaleMetric"], PREDICTOR["scaleTarget"]) == (busy["name"], busy["target"]["averageUtilization"])
    strategy = one(WRITTEN, "Deployment", "gateway")["spec"]["strategy"]
    assert PREDICTOR["deploymentStrategy"] == {"type": "RollingUpdate", **strategy}


def test_only_kserves_gateway_and_prometheus_reach_the_pod_and_it_reaches_nobody() -> None:
    policies = of_kind(DOCUMENTS, "NetworkPolicy")
    assert let_in(policies, POD, "Ingress") == {
        ("TCP", 8080): {"namespace envoy-gateway-system", "namespace monitoring"},
        ("TCP", 8087): {"namespace monitoring"},
    }
    assert [policy["spec"]["policyTypes"] for policy in policies] == [["Ingress", "Egress"]]
    assert let_in(policies, POD, "Egress") == {}


def test_the_images_are_those_of_the_production_overlay() -> None:
    overlay = yaml.safe_load((FOLDER / "overlays/production" / KUSTOMIZATION).read_text(encoding="utf-8"))
    images = {each["name"]: f"{each['newName']}:{each['newTag']}" for each in overlay["images"]}
    del images["ai-product-photo-detector-ui"]
    assert {each["image"] for each in POD.containers().values()} == set(images.values())


def test_no_secret_stands_in_it() -> None:
    assert not re.search(r"[0-9a-f]{32}|BEGIN .*KEY", FILE.read_text(encoding="utf-8"))
