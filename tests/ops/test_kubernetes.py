"""Kubernetes' manifests by its own schema, and the overlays as kubectl renders them."""

from __future__ import annotations

import os
import re
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from gateway.settings import Settings
from tests.ops import compose
from tests.ops.kubernetes_manifests import (
    FILES,
    FOLDER,
    KUSTOMIZATION,
    OVERLAYS,
    PASSWORD,
    PODS,
    WRITTEN,
    Pod,
    errors,
    let_in,
    needs_kustomize,
    of_kind,
    one,
    read,
    rendered,
)

COMPOSE = {service.name: service for service in compose.services()}
BUILT = ("gateway", "torchserve", "ui")
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_every_manifest_is_what_kubernetes_takes(file: Path) -> None:
    documents = read(file)
    assert documents
    assert [error for document in documents for error in errors(document)] == []


def test_the_schema_refuses_fields_that_kubernetes_does_not_know() -> None:
    wrong = deepcopy(one(WRITTEN, "Deployment", "gateway"))
    wrong["spec"]["template"]["spec"]["initContainers"][0]["startupProbe"]["period"] = 5
    [error] = errors(wrong)
    assert error.startswith("$.spec.template.spec.initContainers[0].startupProbe: ")
    assert "'period' was unexpected" in error


def test_every_file_is_reached_by_a_kustomization() -> None:
    named = set()
    for file in FOLDER.rglob(KUSTOMIZATION):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        listed = [*content.get("resources", []), *content.get("components", [])]
        named |= {(file.parent / path).resolve() for path in listed}
    assert [path for path in named if not path.exists()] == []
    assert set(FILES) - named == set()
    folders = {file.parent for file in FOLDER.rglob(KUSTOMIZATION)} - {FOLDER / "overlays" / name for name in OVERLAYS}
    assert {folder.name for folder in folders - named} == {"tracing"}  # for those who have a collector


@needs_kustomize
@each_overlay
def test_an_overlay_is_what_kubernetes_takes(overlay: str) -> None:
    documents = rendered(FOLDER / "overlays" / overlay)
    assert [error for document in documents for error in errors(document)] == []
    homes = {(each["kind"] == "Namespace", each["metadata"].get("namespace")) for each in documents}
    assert homes == {(True, None), (False, "product-photo-detector")}
    names = [(each["kind"], each["metadata"]["name"]) for each in documents]
    assert len(set(names)) == len(names)


@needs_kustomize
@each_overlay
def test_every_image_has_a_tag(overlay: str) -> None:
    pods = map(Pod.of, of_kind(rendered(FOLDER / "overlays" / overlay), "Deployment"))
    images = {each["image"].rpartition(":")[::2] for pod in pods for each in pod.containers().values()}
    assert {tag for _, tag in images} & {"", "latest"} == set()
    built = {name.rpartition("/")[2] for name, _ in images if "docker.io/" not in name}
    assert built == {f"ai-product-photo-detector-{name}" for name in BUILT}


@needs_kustomize
def test_the_local_overlay_takes_one_pod_of_the_images_that_make_builds() -> None:
    documents = rendered(FOLDER / "overlays/local")
    assert {"HorizontalPodAutoscaler", "Ingress", "PodMonitor"} & {each["kind"] for each in documents} == set()
    deployment = one(documents, "Deployment", "gateway")
    assert "replicas" not in deployment["spec"]  # one
    assert COMPOSE["gateway"].said["image"] == "ai-product-photo-detector-gateway:${TAG:-dev}"
    assert Pod.of(deployment).containers()["gateway"]["image"] == "ai-product-photo-detector-gateway:dev"
    assert {each["imagePullPolicy"] for each in Pod.of(deployment).containers().values()} == {"IfNotPresent"}


@needs_kustomize
def test_in_production_the_autoscaler_alone_says_how_many() -> None:
    documents = rendered(FOLDER / "overlays/production")
    assert "replicas" not in one(documents, "Deployment", "gateway")["spec"]
    assert one(documents, "HorizontalPodAutoscaler", "gateway")["spec"]["minReplicas"] == 3


@needs_kustomize
def test_spans_go_to_a_collector_that_the_policy_lets_them_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"resources": [FOLDER / "base"], "components": [FOLDER / "components/tracing"]}
    content = {kind: [os.path.relpath(path, tmp_path.resolve()) for path in found] for kind, found in listed.items()}
    (tmp_path / KUSTOMIZATION).write_text(yaml.safe_dump(content))
    documents = rendered(tmp_path)
    assert [error for document in documents for error in errors(document)] == []
    environment = Pod.of(one(documents, "Deployment", "gateway")).environment("gateway", PASSWORD)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", environment["OTEL_EXPORTER_OTLP_ENDPOINT"])
    endpoint = Settings().otlp_endpoint
    assert endpoint is not None
    assert endpoint.host == "collector.observability"
    policy = one(WRITTEN, "NetworkPolicy", "gateway-to-collector")
    assert let_in([policy], PODS["gateway"], "Egress") == {("TCP", endpoint.port): {"namespace observability"}}


@needs_kustomize
def test_the_manifest_is_printed() -> None:
    command = ("make", "--silent", "kubernetes-manifest")
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert list(yaml.safe_load_all(said)) == rendered(FOLDER / "overlays/production")


def test_no_secret_stands_in_the_repository() -> None:
    texts = {file: file.read_text(encoding="utf-8") for file in FOLDER.rglob("*") if file.is_file()}
    assert texts
    assert [
        file
        for file, text in texts.items()
        if re.search(r"(?<!sha256:)\b[0-9a-f]{32}|BEGIN .*KEY|secretGenerator", text)
    ] == []
    assert of_kind(WRITTEN, "Secret") == []
