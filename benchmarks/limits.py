"""What a stranger can cost the real stack at most: all attacks at the same time, and an honest client beside them."""

import argparse
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any, Final

import httpx
import psutil
from PIL import Image, PngImagePlugin
from rich.console import Console
from rich.table import Table

from benchmarks.harness import BenchLayout, form, sample
from deploy.layout import Ports
from deploy.local.stack import running

MIB: Final = 1024 * 1024
MOST: Final = {"gateway": 512 * MIB, "page": 512 * MIB, "torchserve": 3072 * MIB}
"""Memory that each may take; TorchServe's is the limit of its container, JVM and workers together."""
HUNG_S: Final = 60.0
"""No honest request may take longer: its deadlines end before."""
FORM: Final = {"Content-Type": "multipart/form-data; boundary=cut"}


@dataclass
class Target:
    """Where the stack listens, when to stop, and what the requests came to."""

    gateway: httpx.URL
    page: httpx.URL
    key: str
    stop: Event = field(default_factory=Event)
    answers: Counter[str] = field(default_factory=Counter)

    def post(
        self, name: str, url: httpx.URL, content: bytes, headers: Mapping[str, str] = FORM
    ) -> httpx.Response | None:
        """Send something, count what came of it, and return the answer if there is one."""
        answer = None
        try:
            answer = httpx.post(url, content=content, headers=headers, timeout=HUNG_S, trust_env=False)
            came = str(answer.status_code)
        except httpx.HTTPError as error:
            came = type(error).__name__
        self.answers[f"{name}: {came}"] += 1
        return answer

    def hold(self, count: int, said: bytes, pause_s: float = 5.0) -> None:
        """Keep so many connections open that said this and say no more, opened anew as often as they are closed."""
        while not self.stop.is_set():
            with ExitStack() as opened:
                for _ in range(count):
                    connection = opened.enter_context(socket.socket())
                    connection.settimeout(2)
                    with suppress(OSError):  # refused, or answered and closed before all was sent
                        connection.connect((self.gateway.host, self.gateway.port or 0))
                        connection.sendall(said)
                self.stop.wait(pause_s)

    def hold_upload(self, count: int, path: str, length: int, begun: bytes) -> None:
        """Keep so many uploads open that declare a length, begin so, and never end."""
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {self.key}\r\nContent-Length: {length}\r\n"
        self.hold(count, f"{head}Content-Type: {FORM['Content-Type']}\r\n\r\n".encode() + begun, 20)

    def upload(self, name: str, content: bytes, paths: tuple[str, ...]) -> None:
        """Send the same upload to all these paths at once, over and over."""
        headers = {**FORM, "X-API-Key": self.key}
        with ThreadPoolExecutor(len(paths)) as pool:
            while not self.stop.is_set():
                list(pool.map(lambda path: self.post(name, self.gateway.join(path), content, headers), paths))


def refusals(target: Target) -> None:
    """Requests with a wrong key, as fast as they are answered."""
    url = target.gateway.join("/predict")
    with httpx.Client(headers={**FORM, "X-API-Key": "wrong"}, timeout=HUNG_S, trust_env=False) as client:
        while not target.stop.is_set():
            with suppress(httpx.HTTPError):
                client.post(url, content=b"x")


def page_uploads(target: Target) -> None:
    """Files for the page that nobody asks for, and bodies that are not uploads."""
    content, junk = form("files", bytes(5 * MIB)), b'{"data": "' + b"x" * (20 * MIB) + b'"}'
    upload, join = (target.page.join(f"/gradio_api/{path}") for path in ("upload", "queue/join"))
    while not target.stop.is_set():
        target.post("upload to the page", upload, content)
        target.post("JSON to the page", join, junk, {"Content-Type": "application/json"})


def flat(mode: str, size: tuple[int, int], kind: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's own
    """An image of one colour in one of Pillow's formats."""
    buffer = BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times."""
    data = flat("L", (7000, 7000), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def xmp_bomb() -> bytes:
    """A PNG of a kilobyte with XMP of 100,000 elements in a namespace of 10,000 letters."""
    chunks = PngImagePlugin.PngInfo()
    xmp = f'<x:a xmlns:x="{"u" * 10_000}">{"<x:b/>" * 100_000}</x:a>'
    chunks.add_itxt("XML:com.adobe.xmp", xmp, zip=True)
    return flat("RGBA", (64, 64), "PNG", pnginfo=chunks)


HEAD: Final = b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 99 + b"X-Long: " + b"x" * 60_000
"""As large as may be, with as many headers, and without an end."""
Attack = Callable[[Target], None]
ATTACKS: Final[Mapping[str, Attack]] = {
    "silent": lambda target: target.hold(300, b""),
    "half-heads": lambda target: target.hold(200, HEAD),
    "half-bodies": lambda target: target.hold_upload(100, "/predict", 1_000_000, b"--cut\r\n" + b"x" * 10_000),
    "stalled-batches": lambda target: target.hold_upload(  # 45 of the 50 MB arrive
        20, "/predict/batch", 50 * MIB, form("files", bytes(45 * MIB))[: 45 * MIB]
    ),
    # Answers that nobody reads.
    "slow-readers": lambda target: target.hold(50, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 16, 20),
    "refusals": refusals,
    "large-pictures": lambda target: target.upload(
        "50-megapixel RGBA PNG",
        form("file", flat("RGBA", (10_000, 5_000), "PNG")),
        ("/predict", "/predict/explain") * 4,
    ),
    "many-scans": lambda target: target.upload(
        "JPEG of 4,000 scans", form("file", scan_bomb(4_000)), ("/predict",) * 2
    ),
    # Its names are megabytes once their namespaces are written out.
    "much-evidence": lambda target: target.upload(
        "XMP of long namespaces", form("file", xmp_bomb()), ("/predict?include=evidence",) * 4
    ),
    "page-uploads": page_uploads,
}


def main() -> None:
    """Measure from the command line; the exit status is 0 if all bounds held."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--rows", nargs="*", choices=ATTACKS, help="these attacks alone; default: all of them")
    parser.add_argument("--seconds", type=float, default=90, help="how long they last")
    arguments = parser.parse_args()
    chosen = [ATTACKS[name] for name in arguments.rows or ATTACKS]
    layout = BenchLayout(var=Path(tempfile.mkdtemp(prefix="limits-")))
    sys.exit(0 if measure(layout, chosen, arguments.seconds, Console(highlight=False)) else 1)


def measure(layout: BenchLayout, attacks: list[Attack], seconds: float, console: Console) -> bool:
    """Run the attacks together and print what they cost; whether all of it stayed within the bounds."""
    with running(layout, Ports.free(), page=True) as stack:
        for url in (f"{stack.gateway_url}/readyz", stack.page_url):
            stack.wait(url, url)
        target = Target(httpx.URL(stack.gateway_url), httpx.URL(stack.page_url), layout.api_key)
        watch, honest = Watch(stack.supervisor.pids), Honest(target)
        honest.ask("an honest request before")  # the first one pays for what is loaded late
        with ThreadPoolExecutor(len(attacks) + 2) as pool:
            work = [pool.submit(attack, target) for attack in attacks]
            work += [pool.submit(watch.run_for, target.stop), pool.submit(honest.run)]
            time.sleep(seconds)
            target.stop.set()
            for each in work:
                each.result()
        honest.ask("an honest request afterwards")
    console.print(watch.table())
    console.print("\n".join(f"  {what}: {count}" for what, count in sorted(target.answers.items())))
    console.print(f"the slowest honest request took {honest.slowest_s:.1f} s")
    broken = [*watch.broken(), *honest.wrong]
    console.print("\n".join(broken) or "all bounds held")
    return not broken


class Watch:
    """The most memory and descriptors of each process and its children, and the processor time that they took."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._rss: Counter[str] = Counter()
        self._files: Counter[str] = Counter()
        self._cpu_before = {name: self._cpu(one) for name, one in self._processes.items()}
        self._cpu_s: dict[str, float] = {}

    def run_for(self, stop: Event) -> None:
        """Look on until the end."""
        while not stop.wait(0.1):
            for name, one in self._processes.items():
                family = _family(one)
                self._rss[name] = max(self._rss[name], sum(each.memory_info().rss for each in family))
                self._files[name] = max(self._files[name], *(each.num_fds() for each in family))
        self._cpu_s = {name: self._cpu(one) - self._cpu_before[name] for name, one in self._processes.items()}

    def table(self) -> Table:
        """What was seen."""
        table = Table("process", "peak memory", "bound", "descriptors", "CPU")
        for name in self._processes:
            memory = (f"{self._rss[name] / MIB:.0f} MiB", f"{MOST[name] / MIB:.0f} MiB")
            table.add_row(name, *memory, str(self._files[name]), f"{self._cpu_s[name]:.0f} s")
        return table

    def broken(self) -> list[str]:
        """The bounds that did not hold."""
        return [f"{name} took {self._rss[name] / MIB:.0f} MiB" for name in MOST if self._rss[name] > MOST[name]]

    @staticmethod
    def _cpu(one: psutil.Process) -> float:
        return float(sum(sum(each.cpu_times()[:2]) for each in _family(one)))


def _family(one: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [one, *one.children(recursive=True)]
    return []


class Honest:
    """A client with an ordinary image every half a second; `wrong` is what no such client may meet."""

    def __init__(self, target: Target) -> None:
        self._target, self._url = target, target.gateway.join("/predict")
        self._headers, self._content = {**FORM, "X-API-Key": target.key}, form("file", sample("100kB"))
        self.slowest_s = 0.0
        self.wrong: list[str] = []

    def run(self) -> None:
        """Ask until the end."""
        while not self._target.stop.wait(0.5):
            self.ask("an honest request")

    def ask(self, name: str) -> None:
        """Predict the image."""
        started = time.monotonic()
        answer = self._target.post(name, self._url, self._content, self._headers)
        self.slowest_s = max(self.slowest_s, time.monotonic() - started)
        if answer is None:
            self.wrong.append(f"{name} got no answer")
        elif answer.status_code != httpx.codes.OK and "retry-after" not in answer.headers:
            self.wrong.append(f"{name} got {answer.status_code}: {answer.text[:200]}")


if __name__ == "__main__":
    main()
