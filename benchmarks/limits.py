"""What a stranger can cost the real stack at most: all attacks at the same time, and an honest client beside them."""

import argparse
import contextlib
import socket
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Final

import httpx
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.gateway import sample
from benchmarks.stacks import BenchLayout
from deploy.layout import Ports
from deploy.local.stack import LocalStack, running

MIB: Final = 1024 * 1024
MOST: Final = {"gateway": 512 * MIB, "page": 512 * MIB, "TorchServe": 3072 * MIB}
"""Memory that each may take; TorchServe's is the limit of its container, JVM and workers together."""
HUNG_S: Final = 60.0
"""No honest request may take longer: its deadlines end before."""
FORM: Final = {"Content-Type": "multipart/form-data; boundary=cut"}
NEVER_ENDS: Final = b"Content-Type: multipart/form-data; boundary=cut\r\nContent-Length: %d\r\n\r\n"


@dataclass
class Target:
    """Where the stack listens, and when to stop."""

    gateway: httpx.URL
    page: httpx.URL
    key: str
    stop: Event = field(default_factory=Event)
    answers: Counter[str] = field(default_factory=Counter)

    def post(self, name: str, path: str, content: bytes) -> None:
        """Send an upload to the gateway with a key and count what came of it."""
        url, headers = self.gateway.join(path), {**FORM, "X-API-Key": self.key}
        self._count(name, lambda: httpx.post(url, content=content, headers=headers, timeout=HUNG_S, trust_env=False))

    def page_post(self, name: str, path: str, content: bytes, headers: Mapping[str, str] = FORM) -> None:
        """Send something to the page."""
        url = self.page.join(path)
        self._count(name, lambda: httpx.post(url, content=content, headers=headers, timeout=HUNG_S, trust_env=False))

    def _count(self, name: str, call: Callable[[], httpx.Response]) -> None:
        try:
            self.answers[f"{name}: {call().status_code}"] += 1
        except httpx.HTTPError as error:
            self.answers[f"{name}: {type(error).__name__}"] += 1


Attack = Callable[[Target], None]


def main() -> None:
    """Measure from the command line; the exit status is 0 if all bounds held."""
    arguments = _parse()
    chosen = {name: ATTACKS[name] for name in arguments.rows or ATTACKS}
    layout = BenchLayout(var=Path(tempfile.mkdtemp(prefix="limits-")))
    sys.exit(0 if measure(layout, chosen, arguments.seconds, Console(highlight=False)) else 1)


def measure(layout: BenchLayout, attacks: Mapping[str, Attack], seconds: float, console: Console) -> bool:
    """Run the attacks together and print what they cost; whether all of it stayed within the bounds."""
    with running(layout, Ports.free(), page=True) as stack:
        for url in (f"{stack.gateway_url}/readyz", stack.page_url):
            stack.wait(url, url, lambda _: None)
        target = Target(httpx.URL(stack.gateway_url), httpx.URL(stack.page_url), layout.api_key)
        watch, honest = Watch(_processes(stack)), Honest(target)
        honest.ask()  # the first one pays for what is loaded late
        with ThreadPoolExecutor(len(attacks) + 2) as pool:
            work = [pool.submit(attack, target) for attack in (*attacks.values(), watch.run_for, honest.run_for)]
            time.sleep(seconds)
            target.stop.set()
            for each in work:
                each.result()
        target.stop.clear()
        last = honest.ask()
    console.print(watch.table())
    console.print("\n".join(f"  {what}: {count}" for what, count in sorted(target.answers.items())))
    console.print(f"honest requests: {dict(honest.statuses)}, the slowest {honest.slowest_s:.1f} s; afterwards: {last}")
    broken = [*watch.broken(), *honest.broken()]
    console.print("\n".join(broken) or "all bounds held")
    return not broken


class Watch:
    """The most memory and descriptors of each process, and the processor time that it took."""

    def __init__(self, processes: Mapping[str, psutil.Process]) -> None:
        self._processes = processes
        self._rss: Counter[str] = Counter()
        self._files: Counter[str] = Counter()
        self._cpu_before = {name: self._cpu(one) for name, one in processes.items()}
        self._cpu_s: dict[str, float] = {}

    def run_for(self, target: Target) -> None:
        """Look on until the target stops."""
        while not target.stop.wait(0.1):
            for name, one in self._processes.items():
                family = _family(one)
                self._rss[name] = max(self._rss[name], sum(each.memory_info().rss for each in family))
                self._files[name] = max(self._files[name], *(each.num_fds() for each in family))
        self._cpu_s = {name: self._cpu(one) - self._cpu_before[name] for name, one in self._processes.items()}

    def table(self) -> Table:
        """What was seen."""
        table = Table("process", "peak memory", "bound", "descriptors", "CPU")
        for name in self._processes:
            row = (f"{self._rss[name] / MIB:.0f} MiB", f"{MOST[name] / MIB:.0f} MiB", str(self._files[name]))
            table.add_row(name, *row, f"{self._cpu_s[name]:.0f} s")
        return table

    def broken(self) -> list[str]:
        """The bounds that did not hold."""
        return [f"{name} took {self._rss[name] / MIB:.0f} MiB" for name in MOST if self._rss[name] > MOST[name]]

    @staticmethod
    def _cpu(one: psutil.Process) -> float:
        return float(sum(sum(each.cpu_times()[:2]) for each in _family(one)))


def _family(one: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [one, *one.children(recursive=True)]
    return []


class Honest:
    """A client with an ordinary photo every half a second."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._photo = form("file", sample("100kB"))
        self.statuses: Counter[str] = Counter()
        self.slowest_s = 0.0
        self._wrong: list[str] = []

    def run_for(self, target: Target) -> None:
        """Ask until the target stops."""
        while not target.stop.wait(0.5):
            self.statuses[self.ask()] += 1

    def ask(self) -> str:
        """Predict the image; return the status, or what went wrong."""
        started = time.monotonic()
        try:
            answer = httpx.post(
                self._target.gateway.join("/predict"),
                content=self._photo,
                headers={**FORM, "X-API-Key": self._target.key},
                timeout=HUNG_S,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            self._wrong.append(f"an honest request ended with {type(error).__name__}")
            return type(error).__name__
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
        if answer.status_code != httpx.codes.OK and "retry-after" not in answer.headers:
            self._wrong.append(f"an honest request got {answer.status_code}: {answer.text[:200]}")
        return str(answer.status_code)

    def broken(self) -> list[str]:
        """What no honest client may meet."""
        return self._wrong


def form(field_name: str, *files: bytes) -> bytes:
    """A multipart body."""
    head = f'--cut\r\nContent-Disposition: form-data; name="{field_name}"; filename="a.jpg"\r\n\r\n'.encode()
    return b"".join(head + data + b"\r\n" for data in files) + b"--cut--\r\n"


def _hold(target: Target, count: int, said: bytes, pause_s: float = 5.0) -> None:
    """Keep so many connections open that said this and say no more, opened anew as often as they are closed."""
    while not target.stop.is_set():
        with ExitStack() as opened:
            for _ in range(count):
                if (connection := _opened(target, said)) is not None:
                    opened.enter_context(connection)
            target.stop.wait(pause_s)


def _opened(target: Target, said: bytes) -> socket.socket | None:
    connection = socket.socket()
    connection.settimeout(2)
    try:
        connection.connect((target.gateway.host, target.gateway.port or 0))
        connection.sendall(said)
    except OSError:  # refused, or answered and closed before all was sent
        connection.close()
        return None
    return connection


def silent(target: Target) -> None:
    """Connections that say nothing."""
    _hold(target, 300, b"")


def half_heads(target: Target) -> None:
    """Heads that never end, as large as may be and with as many headers."""
    _hold(target, 200, b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 99 + b"X-Long: " + b"x" * 60_000)


def half_bodies(target: Target) -> None:
    """Photos of which the last part never comes."""
    key = b"POST /predict HTTP/1.1\r\nHost: x\r\nX-API-Key: " + target.key.encode() + b"\r\n"
    _hold(target, 100, key + NEVER_ENDS % 1_000_000 + b"--cut\r\n" + b"x" * 10_000, 20)


def stalled_batches(target: Target) -> None:
    """Batches of which 45 MB arrive."""
    head = b"POST /predict/batch HTTP/1.1\r\nHost: x\r\nX-API-Key: " + target.key.encode() + b"\r\n"
    said = head + NEVER_ENDS % (50 * MIB) + form("files", bytes(45 * MIB))[: 45 * MIB]
    _hold(target, 20, said, 20)


def slow_readers(target: Target) -> None:
    """Answers that nobody reads."""
    _hold(target, 50, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 16, 20)


def refusals(target: Target) -> None:
    """Requests with a wrong key, as fast as they are answered."""
    url = target.gateway.join("/predict")
    with httpx.Client(headers={**FORM, "X-API-Key": "wrong"}, timeout=HUNG_S, trust_env=False) as client:
        while not target.stop.is_set():
            with contextlib.suppress(httpx.HTTPError):
                client.post(url, content=b"x")


def large_pictures(target: Target) -> None:
    """Eight at a time of 50 megapixels with an alpha channel, half of them to be explained."""
    content = form("file", flat_png(10_000, 5_000))
    paths = ("/predict", "/predict/explain") * 4
    _together(target, [("50-megapixel RGBA PNG", path, content) for path in paths])


def many_scans(target: Target) -> None:
    """Progressive JPEGs with thousands of scans."""
    content = form("file", scan_bomb(4_000))
    _together(target, [("JPEG of 4,000 scans", "/predict", content)] * 2)


def much_evidence(target: Target) -> None:
    """XMP whose names are megabytes once their namespaces are written out."""
    content = form("file", xmp_bomb())
    _together(target, [("XMP of long namespaces", "/predict?include=evidence", content)] * 4)


def page_uploads(target: Target) -> None:
    """Files for the page that nobody asks for, and bodies that are no uploads."""
    content, junk = form("files", bytes(5 * MIB)), b'{"data": "' + b"x" * (20 * MIB) + b'"}'
    while not target.stop.is_set():
        target.page_post("upload to the page", "/gradio_api/upload", content)
        target.page_post("JSON to the page", "/gradio_api/queue/join", junk, {"Content-Type": "application/json"})


def _together(target: Target, calls: Sequence[tuple[str, str, bytes]]) -> None:
    with ThreadPoolExecutor(len(calls)) as pool:
        while not target.stop.is_set():
            list(pool.map(lambda call: target.post(*call), calls))


ATTACKS: Final[Mapping[str, Attack]] = {
    attack.__name__.replace("_", "-"): attack
    for attack in (
        silent,
        half_heads,
        half_bodies,
        stalled_batches,
        slow_readers,
        refusals,
        large_pictures,
        many_scans,
        much_evidence,
        page_uploads,
    )
}


def flat_png(width: int, height: int) -> bytes:
    """An RGBA PNG of one colour, made row by row."""
    packer, row = zlib.compressobj(9), b"\0" + bytes(4 * width)
    pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times."""
    buffer = BytesIO()
    Image.new("L", (7000, 7000), 128).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def xmp_bomb() -> bytes:
    """A PNG of a few kilobytes with XMP of 100,000 elements in a namespace of 10,000 letters."""
    xmp = b'<x:a xmlns:x="' + b"u" * 10_000 + b'">' + b"<x:b/>" * 100_000 + b"</x:a>"
    picture = flat_png(64, 64)
    chunk = _chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp, 9))
    return picture[:33] + chunk + picture[33:]


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _processes(stack: LocalStack) -> dict[str, psutil.Process]:
    by_port = {stack.ports.gateway: "gateway", stack.ports.page: "page", stack.ports.inference: "TorchServe"}
    found = {}
    for child in psutil.Process().children():
        for connection in child.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port in by_port:
                found[by_port[connection.laddr.port]] = child
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--rows", nargs="*", choices=ATTACKS, help="these attacks alone; default: all of them")
    parser.add_argument("--seconds", type=float, default=90, help="how long they last")
    return parser.parse_args()


if __name__ == "__main__":
    main()
