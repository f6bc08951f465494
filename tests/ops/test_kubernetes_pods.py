"""The pods: what they may, what they are told, how they start and stop; by Compose and the gateway's settings."""

from __future__ import annotations

import json
import re
import shlex
from copy import deepcopy
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.routing import Route

from gateway.routes import build_routes
from gateway.server import LAST_CALL_S
from gateway.settings import Settings
from gateway.tracing.export import FLUSH_S
from stack.container import CHECK_S
from stack.layout import ROOT, Layout, Ports
from tests.gateway.variables import VARIABLES
from tests.ops import compose
from tests.ops.kubernetes_manifests import (
    PASSWORD,
    PODS,
    WRITTEN,
    Document,
    Pod,
    in_bytes,
    limits_of_compose,
    of_kind,
    one,
    quantity,
)
from ui.settings import Settings as PageSettings

GATEWAY, PAGE = PODS["gateway"], PODS["ui"]
OWN = {"gateway": GATEWAY, "torchserve": GATEWAY, "ui": PAGE}
COMPOSE = {service.name: service for service in compose.services()}
TEXT = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
PROBES = {
    ("gateway", "startupProbe"): "/startup",
    ("gateway", "readinessProbe"): "/readyz",
    ("gateway", "livenessProbe"): "/healthz",
}
each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=lambda pod: pod.name)


def container(name: str) -> Document:
    return OWN[name].containers()[name]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in GATEWAY.environment("gateway", PASSWORD).items():
        monkeypatch.setenv(name, value)
    return Settings()


@each_pod
def test_a_pod_is_restricted(pod: Pod) -> None:
    assert pod.not_restricted() == []
    assert pod.spec["enableServiceLinks"] is False
    assert pod.spec["serviceAccountName"] == "product-photo-detector"


def test_a_pod_that_may_more_is_found() -> None:
    spec = deepcopy(GATEWAY.spec)
    spec |= {"hostNetwork": True, "volumes": [{"name": "disk", "hostPath": {"path": "/"}}], "securityContext": {}}
    del spec["containers"][0]["securityContext"], spec["automountServiceAccountToken"]
    assert Pod("wrong", {}, spec).not_restricted() == [
        "hostNetwork",
        "volume disk",
        "runs as root",
        "seccompProfile",
        "automountServiceAccountToken",
        "gateway may more",
    ]


def test_the_namespace_refuses_whatever_is_not_restricted() -> None:
    [namespace] = of_kind(WRITTEN, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", OWN)
def test_it_runs_as_the_images_own_user(name: str) -> None:
    dockerfile = (ROOT / f"docker/{name}.Dockerfile").read_text(encoding="utf-8")
    security = OWN[name].spec["securityContext"]
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE) == [f"{security['runAsUser']}:{security['runAsGroup']}"]


@pytest.mark.parametrize("name", OWN)
def test_limits_are_those_of_compose_and_requests_are_within_them(name: str) -> None:
    resources = container(name)["resources"]
    assert resources["limits"] == limits_of_compose(COMPOSE[name].said)
    assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}
    assert all(quantity(asked) <= quantity(resources["limits"][what]) for what, asked in resources["requests"].items())


def test_torchserve_is_promised_the_cores_that_it_was_measured_with() -> None:
    resources = container("torchserve")["resources"]
    assert resources["requests"] == resources["limits"]


@pytest.mark.parametrize("name", OWN)
def test_what_must_be_written_is_in_memory_and_as_large_as_with_compose(name: str, settings: Settings) -> None:
    pod, service = OWN[name], COMPOSE[name]
    empty = {path: each["emptyDir"] for path, each in pod.mounts(name).items() if "emptyDir" in each}
    assert {each["medium"] for each in empty.values()} == {"Memory"}
    scratch = dict(found for each in service.listed("tmpfs") for found in re.findall(r"^([^:]+):size=(\w+),", each))
    assert {path: empty[path]["sizeLimit"] for path in scratch} == {
        path: in_bytes(size) for path, size in scratch.items()
    }
    kept = {volume.split(":")[1] for volume in service.listed("volumes")}
    assert set(empty) == set(scratch) | kept - {"/var/lib/gateway"}
    assert settings.redis_url is not None  # which keeps the drift window instead of that folder


def test_both_sides_mean_the_same_tokens(settings: Settings) -> None:
    layout = Layout(var=Path("/app/var"))
    assert GATEWAY.mounts("torchserve")[str(layout.torchserve)]["name"] == "tokens"
    assert settings.torchserve_key_file is not None
    assert GATEWAY.mounts("gateway")[str(settings.torchserve_key_file.parent)]["name"] == "tokens"
    assert settings.torchserve_key_file.name == layout.key_file.name


def test_every_variable_is_one_that_the_gateway_reads(settings: Settings) -> None:
    environment = GATEWAY.environment("gateway", PASSWORD)
    assert set(environment) - set(VARIABLES) == set()
    assert settings.needs_key()
    assert str(settings.torchserve_url) == f"http://127.0.0.1:{Ports().inference}/"  # of the pod


def test_the_gateway_asks_the_redis_that_is_there(settings: Settings) -> None:
    assert settings.redis_url is not None
    address = urlsplit(str(settings.redis_url.get_secret_value()))
    service = one(WRITTEN, "Service", str(address.hostname))
    assert [port["port"] for port in service["spec"]["ports"]] == [address.port]
    assert address.password == PASSWORD["REDIS_PASSWORD"]


def test_the_page_asks_the_gateway() -> None:
    environment = PAGE.environment("ui", {})
    assert set(environment) == {"UI_GATEWAY_URL"}
    address = urlsplit(PageSettings.from_env(environment).gateway_url)
    service = one(WRITTEN, "Service", str(address.hostname))
    assert [port["port"] for port in service["spec"]["ports"]] == [address.port]


def test_the_keys_are_the_file_of_a_secret_that_the_page_tells_how_to_make(settings: Settings) -> None:
    assert settings.api_keys_file is not None
    volume = GATEWAY.mounts("gateway")[str(settings.api_keys_file.parent)]
    created = re.findall(r"kubectl create secret generic (\S+) (.+)$", TEXT, re.MULTILINE)
    assert created
    files = {name: shlex.split(options)[0] for name, options in created}
    assert files[volume["secret"]["secretName"]] == f"--from-file={settings.api_keys_file.name}"
    [password] = [each["valueFrom"] for each in container("gateway")["env"] if each["name"] == "REDIS_PASSWORD"]
    reference = password["secretKeyRef"]
    assert files[reference["name"]].startswith(f"--from-literal={reference['key']}=")
    assert [each["valueFrom"] for each in PODS["redis"].containers()["redis"]["env"]] == [password]


def test_only_metrics_are_for_others_beside_the_gateway() -> None:
    """tests/stack/test_container.py has what the option does."""
    assert container("torchserve")["args"] == ["--listen-metrics", "0.0.0.0"]  # noqa: S104 - of a pod
    assert "command" not in container("torchserve")
    assert GATEWAY.ports() == {"metrics": Ports().metrics, "http": Ports().gateway}
    assert PAGE.ports() == {"http": Ports().page}
    assert not any(
        "hostPort" in port for pod in PODS.values() for each in pod.containers().values() for port in each["ports"]
    )


@pytest.mark.parametrize(("name", "kind"), PROBES)
def test_a_probe_of_the_gateway_asks_what_there_is(name: str, kind: str) -> None:
    probe = container(name)[kind]
    assert probe["httpGet"] == {"path": PROBES[name, kind], "port": "http"}
    assert probe["httpGet"]["path"] in {route.path for route in build_routes(Settings()) if isinstance(route, Route)}
    if kind != "livenessProbe":
        assert probe["timeoutSeconds"] > Settings().readiness_timeout_s
    assert probe["timeoutSeconds"] <= probe["periodSeconds"]


def test_torchserves_probes_are_its_images_own_check() -> None:
    dockerfile = (ROOT / "docker/torchserve.Dockerfile").read_text(encoding="utf-8")
    [check] = re.findall(r"^    CMD (\[.+\])$", dockerfile, re.MULTILINE)
    torchserve = container("torchserve")
    for kind in ("startupProbe", "livenessProbe"):
        assert torchserve[kind]["exec"]["command"] == json.loads(check)
        assert torchserve[kind]["timeoutSeconds"] > CHECK_S
    startup, alive = torchserve["startupProbe"], torchserve["livenessProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 240
    assert alive["periodSeconds"] * alive["failureThreshold"] == 300


def test_torchserve_starts_before_the_gateway_and_stops_after_it() -> None:
    assert container("torchserve")["restartPolicy"] == "Always"  # which makes an init container a side-car
    assert [each["name"] for each in GATEWAY.spec["initContainers"]] == ["torchserve"]


def test_a_pod_has_time_to_answer_what_is_in_flight(settings: Settings) -> None:
    [command, seconds] = container("gateway")["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    gateway = LAST_CALL_S + settings.shutdown_timeout_s + FLUSH_S
    torchserve = float(COMPOSE["torchserve"].said["stop_grace_period"].removesuffix("s"))
    assert int(seconds) + gateway + torchserve <= GATEWAY.spec["terminationGracePeriodSeconds"]


def test_a_rollout_takes_no_pod_away_before_the_next_is_ready_and_pods_are_spread() -> None:
    deployment = one(WRITTEN, "Deployment", "gateway")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert one(WRITTEN, "PodDisruptionBudget", "gateway")["spec"]["maxUnavailable"] == 1
    spread = GATEWAY.spec["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert all(GATEWAY.matches(each["labelSelector"]) for each in spread)
