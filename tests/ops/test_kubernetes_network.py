"""Who reaches whom in the cluster, and what comes in from outside."""

from __future__ import annotations

import re

from starlette.routing import BaseRoute, Mount, Route

from gateway.routes import build_routes
from gateway.settings import Settings
from stack.layout import ROOT
from tests.ops.kubernetes_manifests import (
    FOLDER,
    PASSWORD,
    PODS,
    WRITTEN,
    Pod,
    let_in,
    needs_kustomize,
    of_kind,
    one,
    read,
    rendered,
)

TEXT = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
POLICIES = of_kind(WRITTEN, "NetworkPolicy")
INGRESS = one(WRITTEN, "Ingress", "product-photo-detector")
RULES = {rule["host"]: rule["http"]["paths"] for rule in INGRESS["spec"]["rules"]}
HIDDEN = {"/metrics", "/drift", "/healthz", "/readyz", "/startup"}


def paths(routes: list[BaseRoute]) -> set[str]:
    return {route.path for route in routes if isinstance(route, Route)}


def test_services_stay_in_the_cluster_and_have_no_port_of_torchserve() -> None:
    services = of_kind(WRITTEN, "Service")
    assert all(service["spec"].get("type", "ClusterIP") == "ClusterIP" for service in services)
    ports = {each["metadata"]["name"]: [port["port"] for port in each["spec"]["ports"]] for each in services}
    assert ports == {"gateway": [8080], "ui": [7860], "redis": [6379]}


def test_selectors_mean_one_pod_and_ports_are_its() -> None:
    for service in of_kind(WRITTEN, "Service"):
        [pod] = [pod for pod in PODS.values() if pod.matches({"matchLabels": service["spec"]["selector"]})]
        assert pod.name == service["metadata"]["name"]
        assert [pod.ports()[port["targetPort"]] for port in service["spec"]["ports"]] == [
            port["port"] for port in service["spec"]["ports"]
        ]
    for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
        for document in of_kind(WRITTEN, kind):
            selected = [pod.name for pod in PODS.values() if pod.matches(document["spec"]["selector"])]
            assert selected == [document["metadata"]["name"]]


def test_nothing_is_let_through_that_no_policy_names() -> None:
    deny = one(WRITTEN, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    names = {each["metadata"]["name"] for each in POLICIES if each["metadata"]["name"] != "default-deny"}
    meant = {
        each["metadata"]["name"]
        for each in POLICIES
        for pod in PODS.values()
        if pod.matches(each["spec"]["podSelector"])
    }
    assert names - meant == set()


def test_into_a_pod_come_those_who_need_it() -> None:
    assert {pod.name: let_in(POLICIES, pod, "Ingress") for pod in PODS.values()} == {
        "gateway": {
            ("TCP", 8080): {"pod ui", "namespace nginx-ingress", "namespace monitoring"},
            ("TCP", 8087): {"namespace monitoring"},
        },
        "ui": {("TCP", 7860): {"namespace nginx-ingress"}},
        "redis": {("TCP", 6379): {"pod gateway"}},
    }


def test_out_of_a_pod_goes_what_it_needs() -> None:
    names = {("UDP", 53): {"namespace kube-system"}, ("TCP", 53): {"namespace kube-system"}}
    assert {pod.name: let_in(POLICIES, pod, "Egress") for pod in PODS.values()} == {
        "gateway": {**names, ("TCP", 6379): {"pod redis"}, ("TCP", 4318): {"namespace observability"}},
        "ui": {**names, ("TCP", 8080): {"pod gateway"}},
        "redis": {},
    }


def test_the_page_names_every_port_and_every_other_namespace() -> None:
    [table] = re.findall(r"^## Who reaches whom\n(.+?)^Everything else", TEXT, re.MULTILINE | re.DOTALL)
    reached = [let_in(POLICIES, pod, direction) for pod in PODS.values() for direction in ("Ingress", "Egress")]
    ports = {str(port) for each in reached for _, port in each}
    assert set(re.findall(r"\b\d+\b", table)) == ports
    peers = {peer for each in reached for found in each.values() for peer in found}
    namespaces = {peer.removeprefix("namespace ") for peer in peers if peer.startswith("namespace ")}
    assert {name for name in re.findall(r"`([a-z-]+)`", table) if name != "base"} == namespaces


def test_without_ingress_and_prometheus_the_page_alone_reaches_the_gateway() -> None:
    policies = of_kind(read(FOLDER / "base/network-policies.yaml"), "NetworkPolicy")
    assert {pod.name: let_in(policies, pod, "Ingress") for pod in PODS.values()} == {
        "gateway": {("TCP", 8080): {"pod ui"}},
        "ui": {},
        "redis": {("TCP", 6379): {"pod gateway"}},
    }


def passes(path: str) -> bool:
    return any(
        path == rule["path"] or (rule["pathType"] == "Prefix" and path.startswith(rule["path"] + "/"))
        for rule in RULES["api.photos.example.com"]
    )


def test_from_outside_the_api_is_reached_and_what_needs_no_key_is_not() -> None:
    routes = build_routes(Settings())
    [versioned] = [route for route in routes if isinstance(route, Mount) and route.path == "/v1"]
    assert {path for path in paths(routes) if not passes(path)} == HIDDEN
    assert {path for path in paths(versioned.routes) if path != "/" and not passes(f"/v1{path}")} == HIDDEN


def test_the_largest_batch_passes_the_ingress_and_every_host_has_tls() -> None:
    largest = re.fullmatch(r"(\d+)m", INGRESS["metadata"]["annotations"]["nginx.org/client-max-body-size"])
    assert largest
    assert int(largest[1]) * 1024**2 >= Settings().max_batch_bytes + Settings().max_form_overhead_bytes
    assert [host for each in INGRESS["spec"]["tls"] for host in each["hosts"]] == list(RULES)
    backends = {
        rule["backend"]["service"]["name"]: rule["backend"]["service"] for found in RULES.values() for rule in found
    }
    assert {name: service["port"]["name"] for name, service in backends.items()} == {"ui": "http", "gateway": "http"}


@needs_kustomize
def test_behind_the_ingress_one_proxy_is_believed() -> None:
    deployment = one(rendered(FOLDER / "overlays/production"), "Deployment", "gateway")
    assert Pod.of(deployment).environment("gateway", PASSWORD)["GATEWAY_TRUSTED_PROXIES"] == "1"
