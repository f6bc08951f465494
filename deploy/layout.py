"""Where the local stack keeps its files and which ports it takes."""

import codecs
import locale
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from ipaddress import ip_address
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
SHORT_BYTES = 70
"""With the names in it, a folder's path of this length is one that a Unix socket can have: 103 bytes on macOS."""


class StackError(RuntimeError):
    """The stack cannot run; the message is one line that says what to do."""


@contextmanager
def reporting(program: str, *errors: type[BaseException]) -> Iterator[None]:
    """Let a program that meets a StackError, or one of these errors, end with one line and the exit status 1."""
    known: tuple[type[BaseException], ...] = (StackError, *errors)
    try:
        yield
    except known as error:
        sys.exit(f"{program}: {str(error) or 'stopped'}")


def replace_text(file: Path, text: str) -> None:
    """Write a file atomically, by renaming a temporary one."""
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)


@contextmanager
def short_folder() -> Iterator[Path]:
    """Make a private folder for Unix sockets, whose paths must be short wherever the checkout is; remove it at the end.

    Raises:
        StackError: There is no place for it.
    """
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - a private folder
        if not parent or len(os.fsencode(parent)) > SHORT_BYTES:
            continue
        try:
            folder = tempfile.TemporaryDirectory(prefix="photo-", dir=parent, ignore_cleanup_errors=True)
        except OSError:
            continue
        with folder as made:
            yield Path(made)
        return
    raise StackError(f"found no writable folder with a path below {SHORT_BYTES} bytes: set XDG_RUNTIME_DIR to one")


def is_loopback(host: str) -> bool:
    """Return whether a host of an address is this machine, by its name or number."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.create_server((HOST, 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Ports:
    """TCP ports on loopback; the first five are TorchServe's."""

    inference: int = 8085
    management: int = 8086
    metrics: int = 8087
    grpc_inference: int = 8088
    grpc_management: int = 8089
    gateway: int = 8080
    page: int = 7860

    @classmethod
    def free(cls) -> "Ports":
        """Return ports that nothing listens on now."""
        with ExitStack() as closing:  # all are taken at once, so that they differ
            taken = [closing.enter_context(socket.create_server((HOST, 0))) for _ in fields(cls)]
            return cls(*(int(one.getsockname()[1]) for one in taken))

    def check_free(self) -> None:
        """Raise StackError when a port is taken."""
        for name, port in asdict(self).items():
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    raise StackError(
                        f"port {port} ({name.replace('_', ' ')}) is in use: stop what uses it, or use free "
                        'ports with `make demo ARGS="--free-ports"`'
                    )


@dataclass(frozen=True)
class Layout:
    """Folders of one running stack; everything that it writes is below `var`."""

    var: Path = ROOT / "var"
    store: Path = ROOT / "model_store"

    @property
    def torchserve(self) -> Path:
        """TorchServe's working folder: its tokens, logs and unpacked archives."""
        return self.var / "torchserve"

    @property
    def key_file(self) -> Path:
        """The tokens that TorchServe makes at every start, readable by its user alone."""
        return self.torchserve / "key_file.json"

    @property
    def config(self) -> Path:
        """TorchServe's settings, which it reads at every start."""
        return self.torchserve / "config.properties"

    @property
    def former_version(self) -> Path:
        """Which version of the model was live before; it goes with TorchServe's working folder."""
        return self.torchserve / "former_version.json"

    @property
    def unpacked(self) -> Path:
        """Where TorchServe unpacks archives; those of a killed one stay."""
        return self.var / "tmp" / "models"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.var / "logs"

    def environment(self) -> dict[str, str]:
        """Return the environment of every process: ours, with temporary files and caches below `var`."""
        names = {"tmp": ("TMPDIR", "TEMP"), "cache": ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")}
        ours = {name: str(self.var / folder) for folder, those in names.items() for name in those}
        # Or a worker's threads each keep what decoding a large image took.
        ours |= {"PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}
        if codecs.lookup(locale.getencoding()).name == "ascii":
            ours["LC_ALL"] = "C.UTF-8"  # in a locale of ASCII alone a JVM finds no file below a folder with an umlaut
        return os.environ | ours
