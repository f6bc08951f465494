"""The images, really built and started; it takes minutes and gigabytes, so only `make test-images` runs it."""

from __future__ import annotations

import base64
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from deploy.layout import ROOT
from deploy.torchserve.process import ARCHIVE
from tests.deploy.containers import Container, build, podman, why_not

ASKED = "TEST_IMAGES" in os.environ
REASON = why_not() if ASKED else "takes minutes and gigabytes: `make test-images` runs it"
pytestmark = [pytest.mark.skipif(REASON is not None, reason=str(REASON)), pytest.mark.timeout(3600)]

NETWORK = "photo-detector-test"
POD = "photo-detector-test-pod"
SCRATCH = "--tmpfs=/app/var/tmp:size=512m,mode=1777,noexec"
KEY_FILE = "--env=GATEWAY_TORCHSERVE_KEY_FILE=/run/torchserve/key_file.json"
NO_DRIFT_FILE = "--env=GATEWAY_DRIFT_FILE=."
SEND = """
import sys, httpx
url = "http://127.0.0.1:8080" + sys.argv[1]
answer = httpx.post(url, files={"file": ("photo.png", sys.stdin.buffer.read())}, timeout=60)
print(answer.status_code, answer.text)
"""
KNOCK = """
import sys, httpx
try:
    print(httpx.get(sys.argv[1], timeout=5).status_code)
except httpx.ConnectError:
    print("refused")
"""
RIGHTS = r"""
import os, re
status = open("/proc/1/status").read()
print(os.getuid(), os.getgid(), int(re.search(r"CapEff:\s+(\S+)", status)[1], 16))
try:
    open("/app/written", "w")
except OSError as error:
    print(error.strerror)
"""


@pytest.fixture(scope="module")
def image() -> Callable[[str], str]:
    built: dict[str, str] = {}
    return lambda name: built.get(name) or built.setdefault(name, build(name))


@pytest.fixture(scope="module")
def clean_up() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def start(clean_up: ExitStack) -> Callable[..., Container]:
    def started(image: str, *options: str, command: tuple[str, ...] = ()) -> Container:
        container = Container.start(image, *options, command=command)
        clean_up.callback(container.remove)
        return container

    return started


@pytest.fixture(scope="module")
def options(clean_up: ExitStack) -> dict[str, list[str]]:
    """What compose.yaml gives each: a network without a way out, scratch space, and tokens that stay in memory."""
    podman("network", "create", "--internal", NETWORK)
    clean_up.callback(podman, "network", "rm", NETWORK)
    for tokens in (NETWORK, POD):
        own = "o=mode=0700,uid=10001,gid=10001"
        podman("volume", "create", "--opt=type=tmpfs", "--opt=device=tmpfs", f"--opt={own}", tokens)
        clean_up.callback(podman, "volume", "rm", tokens)
    network = f"--network={NETWORK}"
    return {
        "torchserve": [network, SCRATCH, f"--volume={NETWORK}:/app/var/torchserve"],
        "gateway": [network, "--tmpfs=/tmp", f"--volume={NETWORK}:/run/torchserve:ro", KEY_FILE, NO_DRIFT_FILE],
    }


@pytest.fixture(scope="module")
def torchserve(
    image: Callable[[str], str], start: Callable[..., Container], options: dict[str, list[str]]
) -> Container:
    started = start(image("torchserve"), *options["torchserve"], command=("--listen", "0.0.0.0"))  # noqa: S104 - of a container
    started.wait_healthy()
    return started


@pytest.fixture(scope="module")
def inference_url(torchserve: Container) -> str:
    return f"http://{torchserve.address(NETWORK)}:8085"


@pytest.fixture(scope="module")
def gateway(
    image: Callable[[str], str], start: Callable[..., Container], options: dict[str, list[str]], inference_url: str
) -> Container:
    url = f"--env=GATEWAY_TORCHSERVE_URL={inference_url}"
    started = start(image("gateway"), *options["gateway"], url)
    started.wait_healthy()
    return started


def send(gateway: Container, route: str, photo: Path) -> tuple[int, dict[str, object]]:
    status, _, text = gateway.python(SEND, route, given=photo.read_bytes()).partition(" ")
    return int(status), json.loads(text)


def test_an_image_is_predicted_and_explained_by_the_baked_in_archive(gateway: Container, coffee: Path) -> None:
    status, answer = send(gateway, "/predict", coffee)
    assert status == 200
    assert list(answer) == ["prediction", "probability", "confidence", "inference_time_ms", "model_version"]
    with zipfile.ZipFile(ROOT / "model_store" / ARCHIVE) as archive:
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    assert answer["model_version"] == manifest["model"]["modelVersion"]
    status, answer = send(gateway, "/predict/explain", coffee)
    assert status == 200
    heatmap = Image.open(io.BytesIO(base64.b64decode(str(answer["heatmap_base64"]))))
    assert (heatmap.format, heatmap.size) == ("JPEG", (512, 341))


@pytest.mark.parametrize("name", ["gateway", "torchserve"])
def test_they_run_without_rights_and_write_nothing(name: str, request: pytest.FixtureRequest) -> None:
    container: Container = request.getfixturevalue(name)
    assert container.python(RIGHTS).splitlines() == ["10001 10001 0", "Read-only file system"]


def test_others_reach_metrics_but_neither_model_nor_management(gateway: Container, inference_url: str) -> None:
    host = inference_url.rsplit(":", 1)[0]
    found = {port: gateway.python(KNOCK, f"{host}:{port}/metrics").strip() for port in (8085, 8086, 8087, 8088, 8089)}
    assert found == {8085: "400", 8086: "refused", 8087: "200", 8088: "refused", 8089: "refused"}


def test_in_a_pod_others_reach_the_gateway_and_metrics_alone(
    image: Callable[[str], str], start: Callable[..., Container], gateway: Container, coffee: Path
) -> None:
    """As on Kubernetes: gateway and TorchServe share a loopback; the other gateway is who knocks from outside."""
    volume = f"--volume={POD}:"
    torchserve = start(
        image("torchserve"),
        f"--network={NETWORK}",
        SCRATCH,
        f"{volume}/app/var/torchserve",
        command=("--listen-metrics", "0.0.0.0"),  # noqa: S104 - of a container
    )
    torchserve.wait_healthy()
    inside = f"--network=container:{torchserve.id}"
    beside = start(image("gateway"), inside, "--tmpfs=/tmp", f"{volume}/run/torchserve:ro", KEY_FILE, NO_DRIFT_FILE)
    beside.wait_healthy()
    assert send(beside, "/predict", coffee)[0] == 200
    host = f"http://{torchserve.address(NETWORK)}"
    found = {port: gateway.python(KNOCK, f"{host}:{port}/metrics").strip() for port in (8080, 8085, 8086, 8087)}
    assert found == {8080: "200", 8085: "refused", 8086: "refused", 8087: "200"}


@pytest.mark.parametrize(("name", "tools"), [("gateway", {"torch", "timm"}), ("torchserve", {"gateway", "training"})])
def test_an_image_holds_its_own_component_alone(name: str, tools: set[str], request: pytest.FixtureRequest) -> None:
    container: Container = request.getfixturevalue(name)
    program = "import sys, importlib.util as u; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    assert container.python(program, *sorted(tools)).strip() == "[]"
    leftovers = ["/build", "/opt/uv", "/etc/uv", "/etc/pip.conf"]
    program = "import sys, pathlib; print([n for n in sys.argv[1:] if pathlib.Path(n).exists()])"
    assert container.python(program, *leftovers).strip() == "[]"


def test_torchserve_says_what_to_mount_where_it_cannot_write(
    image: Callable[[str], str], start: Callable[..., Container]
) -> None:
    container = start(image("torchserve"), "--network=none")
    assert container.exit_code() == 1
    assert "torchserve: cannot write below /app/var" in container.said()
    assert container.said().rstrip().endswith(": mount a tmpfs owned by its user")


def test_the_page_is_served(image: Callable[[str], str], start: Callable[..., Container]) -> None:
    page = start(image("ui"), "--network=none", "--tmpfs=/tmp:mode=1777")
    page.wait_healthy()
    assert page.stop() == 0


@pytest.mark.parametrize(("name", "code"), [("gateway", 0), ("torchserve", 143)])
def test_they_stop_when_they_are_told(name: str, code: int, request: pytest.FixtureRequest) -> None:
    container: Container = request.getfixturevalue(name)
    assert container.stop() == code
