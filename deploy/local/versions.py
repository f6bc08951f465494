"""Versions of the model: list them, make one live without a failed request, and go back."""

import argparse
import contextlib
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from deploy.layout import Layout, StackError, replace_text, reporting
from deploy.local.stack import TORCHSERVE
from deploy.torchserve import process
from deploy.torchserve.management import ModelApi, Served, connected

MANIFEST = "MAR-INF/MANIFEST.json"
CONFIG = "model-config.yaml"
READY_S = 180
"""Seconds to wait for a version's workers, which import torch beside those that serve."""
DRAIN_S = 120
"""Seconds after which a version that somebody still asks by its number is left alone."""
POLL_S = 0.25


class Archive(NamedTuple):
    """An archive and its declared version; None if it cannot be read."""

    path: Path
    version: str | None


def archives(store: Path) -> list[Archive]:
    """Return all archives of the model, in the order of their names."""
    return [Archive(path, _version(path)) for path in sorted(store.glob(f"{process.MODEL}*.mar"))]


def find(store: Path, version: str) -> Archive:
    """Return the archive that holds a version, by preference one that is not the archive of the first start.

    Raises:
        StackError: There is none, or it is broken.
    """
    there = archives(store)
    held = [archive for archive in there if archive.version == version]
    if not held:
        packed = ", ".join(f"{one.version or 'a broken one'} ({one.path.name})" for one in there) or "none at all"
        raise StackError(f"no archive of version {version} in {store}; available: {packed}")
    chosen = next((archive for archive in held if archive.path.name != process.ARCHIVE), held[0])
    process.check_archive(chosen.path)
    return chosen


def with_config(archive: Path, to: Path, changes: dict[str, Any]) -> None:
    """Copy an archive with other values in its model-config.yaml."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, yaml.safe_dump(yaml.safe_load(content) | changes) if name == CONFIG else content)


def available(store: Path) -> str:
    """Return the versions that can be made live, for a message."""
    return ", ".join(archive.version for archive in archives(store) if archive.version) or "none"


def _version(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as packed:
            return str(json.loads(packed.read(MANIFEST))["model"]["modelVersion"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, OSError):
        return None


class Former(NamedTuple):
    """The version that was live before, and when it ceased to be (seconds since 1970)."""

    version: str
    left_at: float


class Switchboard:
    """Makes model versions live on one TorchServe; `report` receives progress."""

    def __init__(self, api: ModelApi, layout: Layout, report: Callable[[str], None]) -> None:
        self._api = api
        self._layout = layout
        self._report = report

    def former(self) -> Former | None:
        """Return the version that a rollback goes to, if any was live before and the note of it can be read."""
        note = self._layout.former_version
        try:
            said = json.loads(note.read_text(encoding="utf-8"))
            return Former(str(said["version"]), float(said["left_at"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError):
            self._report(f"{note} is broken, so the previous version is unknown")
            return None

    def promote(self, version: str) -> None:
        """Register a version if need be, start it, prove it by an inference, and make it live.

        Raises:
            StackError: It is live already, has no archive, or does not come up; the live version is untouched.
        """
        live = self._api.live()
        if live.version == version:
            raise StackError(f"{version} is live already")
        registered = version in self._api.versions()
        if not registered:
            archive = find(self._layout.store, version)
            self._report(f"registering {archive.path.name}")
            self._api.register(archive.path.name)
        try:
            self._start(version, live.workers)
            self._prove(version)
        except BaseException:  # an impatient Ctrl-C as well
            if not registered:
                with contextlib.suppress(StackError):
                    self._api.unregister(version)
            raise
        self._switch(live, version)

    def rollback(self) -> str:
        """Make the version live that was so before; return it. Doing it again goes forward again.

        Raises:
            StackError: No version was live before, or it does not come up.
        """
        former = self.former()
        if former is None:
            there = available(self._layout.store)
            raise StackError(f"no previous version: choose one with `make promote VERSION=` ({there})")
        self.promote(former.version)
        return former.version

    def _start(self, version: str, at_least: int) -> None:
        start, log = time.monotonic(), self._layout.logs / f"{TORCHSERVE}.log"
        begin = log.stat().st_size if log.exists() else 0
        served = self._served(version)
        workers = max(served.workers, at_least, 1)
        if served.workers < workers:
            self._api.scale(version, workers)
        while served.ready < workers:
            elapsed = time.monotonic() - start
            if elapsed > READY_S:
                raise StackError(f"{version} was not ready within {READY_S} s; see {log}")
            if cause := process.load_failure(log, version, begin):
                raise StackError(f"TorchServe cannot load {version} ({cause}); its log: {log}")
            self._report(f"waiting for {version}: {served.ready} of {workers} workers are ready ({elapsed:.0f} s)")
            time.sleep(POLL_S)
            served = self._served(version)

    def _prove(self, version: str) -> None:
        self._report(f"testing {version} on an image")
        said = self._api.predict(version)
        if said != version:
            raise StackError(f"the archive of {version} holds model version {said}: repack it")

    def _switch(self, live: Served, version: str) -> None:
        before = self.former()
        self._api.set_default(version)
        replace_text(self._layout.former_version, json.dumps(Former(live.version, time.time())._asdict()))
        process.load_at_start(self._layout.config, self._served(version).archive)
        self._report(f"{version} is live")
        if before and before.version not in {version, live.version}:
            self._retire(before)

    def _retire(self, old: Former) -> None:
        """Unregister a version once every batch must have been answered that it can have taken before."""
        give_up = time.monotonic() + DRAIN_S
        quiet_since = old.left_at
        while served := self._api.versions().get(old.version):
            if served.pending:
                quiet_since = time.time()
            if time.time() - quiet_since >= served.response_timeout_s:
                self._api.unregister(old.version)
                return
            if time.monotonic() > give_up:
                self._report(f"{old.version} still gets requests by version and stays loaded")
                return
            self._report(f"waiting until {old.version} has finished its requests")
            time.sleep(POLL_S)

    def _served(self, version: str) -> Served:
        served = self._api.versions().get(version)
        if served is None:
            raise StackError(f"TorchServe has lost {version}: it was restarted or somebody unregistered it; try again")
        return served


def main(words: Sequence[str] | None = None, prog: str = "python -m deploy.local.versions") -> None:
    """Run from the command line; `words` are those of the process unless given."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("action", choices=("list", "promote", "rollback"))
    parser.add_argument("version", nargs="?", help="the version to promote")
    parser.add_argument("--var", type=Path, default=Layout.var, help="folder of the running demo's files")
    parser.add_argument("--store", type=Path, default=Layout.store, help="folder of the archives")
    arguments = parser.parse_args(words)
    console = Console(highlight=False, soft_wrap=True)
    layout = Layout(var=arguments.var.resolve(), store=arguments.store.resolve())
    with reporting(arguments.action, KeyboardInterrupt):
        with connected(layout) as api, console.status("asking TorchServe") as status:
            switchboard = Switchboard(api, layout, status.update)
            if arguments.action == "list":
                console.print(_table(api, switchboard, layout))
                return
            if arguments.action == "rollback":
                switchboard.rollback()
            elif arguments.version:
                switchboard.promote(arguments.version)
            else:
                named = available(layout.store)
                raise StackError(f"choose a version with `make promote VERSION=`; available: {named}")
            live, former = api.live(), switchboard.former()
        console.print(f"[green]live[/]: {live.version}, with {live.ready} workers")
        if former:
            console.print(f"before: {former.version}, still loaded; `make rollback` returns to it at once")
        console.print(
            f"A restarted TorchServe serves {live.version}; the next `make demo` starts with {process.ARCHIVE}"
        )


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


if __name__ == "__main__":
    main()
