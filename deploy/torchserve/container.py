"""TorchServe as the one process of a container; `--check` asks whether it serves."""

import argparse
import json
import os
import shutil
from contextlib import closing
from errno import EACCES
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from deploy.layout import HOST, ROOT, Layout, StackError, reporting
from deploy.torchserve import process

CHECK_S = 4


@reporting("torchserve")
def main() -> None:
    """Become TorchServe, or check the one that runs here."""
    parser = argparse.ArgumentParser(prog="python -m deploy.torchserve.container", description=__doc__)
    parser.add_argument(
        "--listen", default=HOST, help="address for inferences and metrics; 0.0.0.0 for other containers"
    )
    parser.add_argument("--listen-metrics", help="address for metrics alone, if it differs")
    parser.add_argument("--check", action="store_true", help="exit with 0 if a worker of the model is ready")
    arguments = parser.parse_args()
    layout = Layout()
    if arguments.check:
        check(layout)
        return
    java, *options = prepare(layout, arguments.listen, arguments.listen_metrics)
    os.chdir(layout.torchserve)
    # The caches are beside the temporary files, since nothing else can be written.
    caches = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")
    environment = layout.environment() | dict.fromkeys(caches, str(layout.var / "tmp"))
    os.execve(java, [java, *options], environment)  # noqa: S606 - so that signals reach the JVM itself


def prepare(layout: Layout, listen: str = HOST, listen_metrics: str | None = None) -> list[str]:
    """Empty TorchServe's folders, which may be mounted, write its settings, and return the command to run.

    Raises:
        StackError: No archive, a broken one, no Java, or folders that cannot be written.
    """
    process.check_archive(layout.store / process.ARCHIVE)
    base = (ROOT / "config.properties").read_text(encoding="utf-8")
    try:
        for folder in (layout.torchserve, layout.var / "tmp"):
            _empty(folder)
        # Others get inferences and metrics; the management API stays on loopback.
        reachable = f"inference_address=http://{listen}:8085\nmetrics_address=http://{listen_metrics or listen}:8087\n"
        layout.config.write_text(f"{base}\n{reachable}", encoding="utf-8")
    except OSError as error:
        raise StackError(
            f"cannot write below {layout.var} ({error.strerror}): mount a tmpfs owned by its user"
        ) from error
    return process.command(layout, layout.var / "tmp")


def check(layout: Layout) -> None:
    """Return if a worker of the model is ready.

    Raises:
        StackError: None is, or TorchServe does not answer.
    """
    try:
        address = urlsplit(process.address(layout.config, "management"))
        token = process.token(layout.key_file, "management")
        with closing(HTTPConnection(address.netloc, timeout=CHECK_S)) as connection:
            connection.request("GET", f"/models/{process.MODEL}", headers={"Authorization": f"Bearer {token}"})
            [described] = json.load(connection.getresponse())
        ready = any(worker["status"] == "READY" for worker in described["workers"])
    except (OSError, HTTPException, LookupError, TypeError, ValueError) as error:
        raise StackError(f"TorchServe's status could not be read ({type(error).__name__})") from error
    if not ready:
        raise StackError("no worker is ready")


def _empty(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(EACCES, os.strerror(EACCES))
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


if __name__ == "__main__":
    main()
