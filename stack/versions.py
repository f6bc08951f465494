"""Versions of the model: list them, make one live without a failed request, and go back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stack.archives import archives
from stack.layout import Layout, StackError
from stack.model_api import ModelApi, connected
from stack.promotion import Switchboard
from stack.torchserve import ARCHIVE


def main(words: Sequence[str] | None = None, prog: str = "python -m stack.versions") -> None:
    """Run from the command line; `words` are those of the process unless given."""
    arguments = _parse(words, prog)
    console = Console(highlight=False, soft_wrap=True)
    layout = Layout(var=arguments.var.resolve(), store=arguments.store.resolve())
    try:
        with connected(layout) as api, console.status("asking TorchServe") as status:
            switchboard = Switchboard(api, layout, status.update)
            if arguments.action == "list":
                console.print(_table(api, switchboard, layout))
            elif arguments.action == "promote":
                switchboard.promote(_named(arguments.version, layout))
            else:
                switchboard.rollback()
            if arguments.action != "list":
                _tell(console, api, switchboard)
    except StackError as error:
        raise SystemExit(f"{arguments.action}: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(f"{arguments.action}: stopped") from None


def _named(version: str | None, layout: Layout) -> str:
    if not version:
        there = ", ".join(archive.version for archive in archives(layout.store) if archive.version)
        raise StackError(f"choose a version with `make promote VERSION=`; available: {there or 'none'}")
    return version


def _tell(console: Console, api: ModelApi, switchboard: Switchboard) -> None:
    live, former = api.live(), switchboard.former()
    console.print(f"[green]live[/]: {live.version}, with {live.ready} workers")
    if former:
        console.print(f"before: {former.version}, still loaded; `make rollback` returns to it at once")
    console.print(f"A restarted TorchServe serves {live.version}; the next `make demo` starts with {ARCHIVE}")


def _table(api: ModelApi, switchboard: Switchboard, layout: Layout) -> Table:
    live, former, served = api.live().version, switchboard.former(), api.versions()
    table = Table("version", "state", "workers", "archive")
    for version, one in sorted(served.items()):
        state = "live" if version == live else "before" if former and version == former.version else "loaded"
        table.add_row(version, state, f"{one.ready} of {one.workers}", one.archive)
    for archive in archives(layout.store):
        if archive.version not in served:
            table.add_row(archive.version or "?", "not loaded" if archive.version else "broken", "", archive.path.name)
    return table


def _parse(words: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("action", choices=("list", "promote", "rollback"))
    parser.add_argument("version", nargs="?", help="the version to promote")
    parser.add_argument("--var", type=Path, default=Layout.var, help="folder of the running demo's files")
    parser.add_argument("--store", type=Path, default=Layout.store, help="folder of the archives")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
