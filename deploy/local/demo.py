"""The demo: start everything, predict one image, and serve until Ctrl-C."""

import argparse
import base64
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from deploy.layout import Layout, Ports, StackError, free_port, reporting
from deploy.local.stack import LocalStack, running
from deploy.local.supervisor import interrupt_once


@interrupt_once()
@reporting("demo")
def main(words: Sequence[str] | None = None, prog: str = "make demo") -> None:
    """Run the demo from the command line; `words` are those of the process unless given."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--photo", type=Path, help="a JPEG, PNG or WebP; default: a sample from an installed package")
    parser.add_argument(
        "--api-only", action="store_true", help="serve only the REST API, without the page and the sample prediction"
    )
    parser.add_argument("--gateway-port", type=int, default=Ports.gateway)
    parser.add_argument("--page-port", type=int, default=Ports.page)
    parser.add_argument("--free-ports", action="store_true", help="use any free ports")
    parser.add_argument("--var", type=Path, default=Layout.var, help="folder for logs, tokens and temporary files")
    arguments = parser.parse_args(words)
    console = Console(highlight=False)
    photo = None if arguments.api_only else arguments.photo or sample_photo()
    if photo and not photo.is_file():
        raise StackError(f"no photo at {photo}: name a JPEG, PNG or WebP file with PHOTO=path")
    page_port = free_port() if arguments.api_only else arguments.page_port
    ports = Ports.free() if arguments.free_ports else Ports(gateway=arguments.gateway_port, page=page_port)
    try:
        _demo(console, photo, Layout(var=arguments.var.resolve()), ports)
    except KeyboardInterrupt:
        console.print("stopped")


def sample_photo() -> Path:
    """Return a real photograph of a coffee cup that the scikit-image package carries."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise StackError("the sample photo's package scikit-image is not installed: name your own with PHOTO=path")
    return Path(spec.origin).parent / "data" / "coffee.png"


def _demo(console: Console, photo: Path | None, layout: Layout, ports: Ports) -> None:
    """Serve the page and the REST API and predict the image; without one, only the REST API."""
    with running(layout, ports, page=photo is not None) as stack:
        with console.status("starting") as status:
            for url, what in (
                (f"{stack.gateway_url}/healthz", "the gateway"),
                *([(stack.page_url, "the page")] if photo else []),
                (f"{stack.gateway_url}/readyz", "a first inference by TorchServe"),
            ):
                stack.wait(url, what, status.update)
                console.print(f"[green]ready[/]: {what}")
        if photo:
            _predict(console, stack, photo)
            console.print(f"\nPage      {stack.page_url}")
        console.print(f"REST API  {stack.gateway_url}\nLogs      {stack.layout.logs}")
        console.print("Press Ctrl-C to stop.")
        stack.supervisor.watch()


def _predict(console: Console, stack: LocalStack, photo: Path) -> None:
    keys = os.environ.get("API_KEYS", "")
    response = httpx.post(
        f"{stack.gateway_url}/predict/explain",
        files={"file": (photo.name, photo.read_bytes())},
        headers={"X-API-Key": keys.split(",")[0].strip()} if keys else {},
        timeout=60,
        trust_env=False,
    )
    answer = response.json()
    if response.is_error:
        console.print(f"[red]{answer['error']}[/]: {answer['detail']}")
        return
    heatmap = stack.layout.var / f"{photo.stem}-heatmap.jpg"
    heatmap.write_bytes(base64.b64decode(answer.pop("heatmap_base64")))
    table = Table("field", "value", show_header=False)
    table.columns[1].overflow = "fold"
    for name, value in {"photo": photo.name, **answer, "heat map": os.path.relpath(heatmap)}.items():
        table.add_row(name, str(value))
    console.print(table)


if __name__ == "__main__":
    main()
