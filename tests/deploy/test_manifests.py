"""Compose, Kubernetes, KServe, Cloud Run and the images agree with each other and with the settings.

Their formats are the linters' business (`make lint`).
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from grimp import build_graph
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry
from starlette.routing import BaseRoute, Mount, Route

from deploy.cloud_run import MANIFEST, render
from deploy.layout import HOST, ROOT, Layout, Ports, free_port
from gateway.app import build_routes
from gateway.exporter import FLUSH_S
from gateway.server import LAST_CALL_S
from gateway.settings import MIB, Settings, variable
from tests.checks import none
from ui.settings import Settings as PageSettings

VARIABLES = {variable(name): name for name in Settings.model_fields}
"""Every variable that the gateway reads, and its setting."""
Document = dict[str, Any]
FOLDER = ROOT / "deploy/kubernetes"
NAMES = ("gateway", "torchserve", "ui")
VALUES = {"PROJECT": "shop-prod", "REGION": "europe-west1", "REPOSITORY": "detector", "TAG": "3f2c1a9b7d4e"}
KUSTOMIZE = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
needs_kustomize = pytest.mark.skipif(shutil.which(KUSTOMIZE[0]) is None, reason="neither kubectl nor kustomize is here")
HIDDEN = {"/metrics", "/drift", "/healthz", "/readyz", "/startup"}
"""What needs no key and is no stranger's business."""


def documents(*files: Path) -> list[Document]:
    return [each for file in files for each in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def named(found: list[Document]) -> dict[tuple[str, str], Document]:
    return {(each["kind"], each["metadata"]["name"]): each for each in found if "metadata" in each}


def containers(spec: Document) -> dict[str, Document]:
    return {each["name"]: each for each in [*spec.get("initContainers", []), *spec["containers"]]}


@cache
def rendered(overlay: str) -> list[Document]:
    done = subprocess.run([*KUSTOMIZE, str(FOLDER / "overlays" / overlay)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))["services"]
WRITTEN = named(documents(*sorted(FOLDER.rglob("*.yaml"))))
PODS = {name: WRITTEN["Deployment", name]["spec"]["template"]["spec"] for name in ("gateway", "ui", "redis")}
KUBERNETES = containers(PODS["gateway"]) | containers(PODS["ui"])
PREDICTOR = documents(ROOT / "deploy/kserve/inference-service.yaml")[0]["spec"]["predictor"]
KSERVE = containers(PREDICTOR)
KSERVE["gateway"] = KSERVE.pop("kserve-container")
REVISION = yaml.safe_load(render(MANIFEST, VALUES))["spec"]["template"]["spec"]
CLOUD_RUN = containers(REVISION)
INGRESS = WRITTEN["Ingress", "product-photo-detector"]


def variables(container: Document) -> dict[str, str]:
    """A container's variables, as a list or as a mapping; those from secrets with a password."""
    listed = container.get("env", [])
    given = {each["name"]: each.get("value", "0123abc") for each in listed} or dict(container.get("environment", {}))
    return {name: str(value).replace("$(REDIS_PASSWORD)", "0123abc") for name, value in given.items()}


ENVIRONMENTS = {
    "compose": variables(COMPOSE["gateway"]),
    "kubernetes": variables(KUBERNETES["gateway"]),
    "kserve": variables(KSERVE["gateway"]),
    "cloud run": variables(CLOUD_RUN["gateway"]),
}
IMAGE = (ROOT / "docker/gateway.Dockerfile").read_text(encoding="utf-8")


def settings(monkeypatch: pytest.MonkeyPatch, place: str) -> Settings:
    for name, value in ENVIRONMENTS[place].items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize("name", NAMES)
def test_a_component_has_the_same_limits_everywhere(name: str) -> None:
    limits = COMPOSE[name]["deploy"]["resources"]["limits"]
    memory = re.sub(r"(?<=\d)([mg])$", lambda unit: f"{unit[1].upper()}i", limits["memory"])
    places = [place[name]["resources"]["limits"] for place in (KUBERNETES, KSERVE, CLOUD_RUN) if name in place]
    assert places == [{"cpu": limits["cpus"], "memory": memory}] * (1 if name == "ui" else 3)


def test_the_gateways_memory_holds_its_uploads_three_times() -> None:
    """As received, as sent on, and as what the allocator keeps."""
    assert COMPOSE["gateway"]["deploy"]["resources"]["limits"]["memory"] == "1g"
    assert 3 * Settings().upload_budget_bytes + 2**28 <= 2**30


@pytest.mark.parametrize("name", NAMES)
def test_a_component_runs_as_its_images_user_without_rights(name: str) -> None:
    dockerfile = (ROOT / f"docker/{name}.Dockerfile").read_text(encoding="utf-8")
    [user] = re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE)
    for spec, container in (
        (PODS["ui" if name == "ui" else "gateway"], KUBERNETES[name]),
        (PREDICTOR, KSERVE.get(name)),
    ):
        if container:
            assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == user
            rights = container["securityContext"]
            assert (rights["readOnlyRootFilesystem"], rights["capabilities"]) == (True, {"drop": ["ALL"]})
            assert (rights["allowPrivilegeEscalation"], spec["automountServiceAccountToken"]) == (False, False)
    said = COMPOSE[name]
    assert (said["read_only"], said["cap_drop"], said["security_opt"]) == (True, ["ALL"], ["no-new-privileges"])


def test_ports_are_those_of_the_code_and_torchserves_are_nobodys() -> None:
    ports = Ports()
    entries = [entry for each in COMPOSE.values() for entry in each.get("ports", [])]
    none((entry for entry in entries if not entry.startswith("${PUBLISH_ON:-127.0.0.1}:")), of=entries)
    published = {(name, int(entry.rpartition(":")[2])) for name in NAMES for entry in COMPOSE[name].get("ports", [])}
    assert published == {("gateway", ports.gateway), ("ui", ports.page)}
    opened = {
        (name, port["containerPort"])
        for found in (KUBERNETES, KSERVE, CLOUD_RUN)
        for name, container in found.items()
        for port in container.get("ports", [])
    }
    assert opened == published | {("torchserve", ports.metrics)}
    services = {name: each["spec"]["ports"][0]["port"] for (kind, name), each in WRITTEN.items() if kind == "Service"}
    assert services == {"gateway": ports.gateway, "ui": ports.page, "redis": 6379}
    scraped = (ROOT / "docker/prometheus/prometheus.yml").read_text(encoding="utf-8")
    assert {f"gateway:{ports.gateway}", f"torchserve:{ports.metrics}"} <= set(re.findall(r'"(\w+:\d+)"', scraped))


@pytest.mark.parametrize("place", ENVIRONMENTS)
def test_every_variable_is_a_setting_and_a_key_is_needed(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    named = set(ENVIRONMENTS[place]) | set(re.findall(r"\bGATEWAY_\w+", IMAGE))
    none(named - set(VARIABLES) - {"REDIS_PASSWORD"}, of=named)
    found = settings(monkeypatch, place)
    assert found.needs_key()
    beside = "torchserve" if place == "compose" else HOST
    assert str(found.torchserve_url) == f"http://{beside}:{Ports().inference}/"
    if found.redis_url:
        redis = urlsplit(str(found.redis_url.get_secret_value()))
        assert WRITTEN["Service", str(redis.hostname)]["spec"]["ports"][0]["port"] == redis.port


def test_the_page_asks_the_gateway_and_its_variables_are_settings() -> None:
    for place in (COMPOSE["ui"], KUBERNETES["ui"]):
        given = variables(place) | {"UI_ALLOWED_HOSTS": "photos.example.com"}
        assert set(given) == {"UI_GATEWAY_URL", "UI_ALLOWED_HOSTS"}
        assert PageSettings.from_env(given).gateway_url == f"http://gateway:{Ports().gateway}"


@pytest.mark.parametrize(
    ("image", "modules"),
    [
        ("gateway", ["gateway.app", "gateway.server"]),
        ("torchserve", ["deploy.torchserve.container"]),
        ("training", ["training.train", "training.evaluate", "training.package", "training.scoring.score"]),
        ("ui", ["ui.__main__"]),
    ],
)
def test_an_image_holds_all_of_ours_that_it_imports(image: str, modules: list[str]) -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) (\S+)$", (ROOT / f"docker/{image}.Dockerfile").read_text(), re.MULTILINE)
    there = set[Path]()
    for source, target in [(Path(source), target) for sources, target in copied for source in sources.split()]:
        if not (ROOT / source).exists():
            continue  # a pattern for locks that may be missing
        assert sent & {*map(str, (source, *source.parents))}, f"{source} is not sent to the builder"
        place = Path(target, source.name if target.endswith("/") else "")
        files = [ROOT / source, *(ROOT / source).rglob("*.py")]
        there |= {place / file.relative_to(ROOT / source) for file in files}
    ours = build_graph(
        "deploy", "gateway", "handler", "training", "ui", exclude_type_checking_imports=True, cache_dir=None
    )
    imported = {name for module in modules for name in (module, *ours.find_upstream_modules(module))}
    needed = {file for name in imported for file in files_of(name)}
    none(needed - there, of=needed)


def files_of(module: str) -> list[Path]:
    """The file of a module and those of the packages that it is in."""
    path = Path(*module.split("."))
    own = path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")
    return [own, *(package / "__init__.py" for package in path.parents if package.name)]


@pytest.mark.parametrize(("place", "pod"), [("kubernetes", KUBERNETES), ("kserve", KSERVE), ("cloud run", CLOUD_RUN)])
def test_both_sides_mean_the_same_tokens_and_the_keys_are_a_secrets(
    place: str, pod: dict[str, Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = {
        name: {Path(each["mountPath"]): each["name"] for each in pod[name]["volumeMounts"]}
        for name in ("gateway", "torchserve")
    }
    found, layout = settings(monkeypatch, place), Layout(var=Path("/app/var"))
    assert found.torchserve_key_file is not None
    assert found.api_keys_file is not None
    assert mounts["torchserve"][layout.torchserve] == mounts["gateway"][found.torchserve_key_file.parent] == "tokens"
    assert found.torchserve_key_file.name == layout.key_file.name
    assert mounts["gateway"][found.api_keys_file.parent] == "api-keys"


def test_there_is_time_for_what_is_in_flight_and_for_slow_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Settings()
    [_, sleeps] = KUBERNETES["gateway"]["lifecycle"]["preStop"]["exec"]["command"]
    gateway = LAST_CALL_S + usual.shutdown_timeout_s + FLUSH_S
    torchserve = float(COMPOSE["torchserve"]["stop_grace_period"].removesuffix("s"))
    assert int(sleeps) + gateway + torchserve <= PODS["gateway"]["terminationGracePeriodSeconds"]
    assert float(COMPOSE["gateway"]["stop_grace_period"].removesuffix("s")) > usual.shutdown_timeout_s
    for pod in (KUBERNETES, KSERVE, CLOUD_RUN):
        assert pod["gateway"]["startupProbe"]["timeoutSeconds"] > usual.readiness_timeout_s
    cloud = settings(monkeypatch, "cloud run")
    assert cloud.shutdown_timeout_s < 10  # Cloud Run kills ten seconds after SIGTERM
    assert REVISION["timeoutSeconds"] > cloud.predict_timeout_s
    assert REVISION["containerConcurrency"] == cloud.backend_concurrency + cloud.backend_queue
    assert cloud.max_batch_bytes + cloud.max_form_overhead_bytes < 32 * MIB  # all that Cloud Run lets through
    largest = INGRESS["metadata"]["annotations"]["nginx.org/client-max-body-size"]
    assert int(largest.removesuffix("m")) * MIB >= usual.max_batch_bytes + usual.max_form_overhead_bytes


def test_probes_ask_for_routes_that_are_there() -> None:
    asked = {
        probe["httpGet"]["path"]
        for pod in (KUBERNETES, KSERVE, CLOUD_RUN)
        for kind, probe in pod["gateway"].items()
        if kind.endswith("Probe")
    }
    assert asked == {"/startup", "/readyz", "/healthz"} <= paths(build_routes(Settings()))


def paths(routes: list[BaseRoute]) -> set[str]:
    return {route.path for route in routes if isinstance(route, Route)}


def test_from_outside_the_api_is_reached_and_what_needs_no_key_is_not() -> None:
    rules = {rule["host"]: rule["http"]["paths"] for rule in INGRESS["spec"]["rules"]}["api.photos.example.com"]

    def passes(path: str) -> bool:
        return any(
            path == rule["path"] or (rule["pathType"] == "Prefix" and path.startswith(f"{rule['path']}/"))
            for rule in rules
        )

    routes = build_routes(Settings())
    [versioned] = [route for route in routes if isinstance(route, Mount) and route.path == "/v1"]
    assert {path for path in paths(routes) if not passes(path)} == HIDDEN
    assert {path for path in paths(versioned.routes) if path != "/" and not passes(f"/v1{path}")} == HIDDEN


def test_whatever_no_policy_names_is_let_through_nowhere() -> None:
    deny = WRITTEN["NetworkPolicy", "default-deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    labels = {
        WRITTEN["Deployment", name]["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] for name in PODS
    }
    policies = [each["spec"]["podSelector"] for (kind, _), each in WRITTEN.items() if kind == "NetworkPolicy"]
    meant = {policy["matchLabels"]["app.kubernetes.io/name"] for policy in policies if "matchLabels" in policy}
    assert meant <= labels


@needs_kustomize
@pytest.mark.parametrize("overlay", ["local", "production"])
def test_an_overlay_renders_with_tagged_images_and_variables_that_are_settings(overlay: str) -> None:
    found = rendered(overlay)
    assert len(named(found)) == len(found)
    pods = [each["spec"]["template"]["spec"] for each in found if each["kind"] == "Deployment"]
    images = [each["image"].rpartition(":")[2] for pod in pods for each in containers(pod).values()]
    none((tag for tag in images if tag in {"", "latest"} or "/" in tag), of=images)
    [gateway] = [containers(pod)["gateway"] for pod in pods if "gateway" in containers(pod)]
    none(set(variables(gateway)) - set(VARIABLES) - {"REDIS_PASSWORD"}, of=variables(gateway))
    homes = {each["metadata"].get("namespace") for each in found if each["kind"] != "Namespace"}
    assert homes == {"product-photo-detector"}


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """Redis, really started with the arguments that the manifest has."""
    said, port = containers(PODS["redis"])["redis"], free_port()
    words = [word.replace("$(REDIS_PASSWORD)", "0123abc") for word in said["command"] + said["args"]]
    command = [*words, "--bind", HOST, "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            time.sleep(0.01)
        yield port
        server.terminate()


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_wants_the_password_forgets_the_oldest_quotas_first_and_writes_nothing(
    redis_port: int, tmp_path: Path
) -> None:
    with Redis(port=redis_port, retry=Retry(NoBackoff(), 0)) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    with Redis(port=redis_port, password="0123abc", decode_responses=True) as client:  # noqa: S106 - no secret
        client.set("gateway:shop", 1)
        names = ("save", "appendonly", "maxmemory", "maxmemory-policy")
        kept = {name: client.config_get(name)[name] for name in names}
    assert kept == {"save": "", "appendonly": "no", "maxmemory": str(64 * MIB), "maxmemory-policy": "volatile-ttl"}
    assert list(tmp_path.iterdir()) == []
