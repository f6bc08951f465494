"""Switching the live model version while requests continue, and rolling back.

The version that was live before stays loaded with all its workers, so going back is one call. It is the one before
that which goes: nobody has asked it for long enough that it holds no request any more.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from stack import torchserve
from stack.archives import archives, find
from stack.layout import Layout, StackError, replace_text
from stack.local import TORCHSERVE
from stack.model_api import ModelApi, Served

READY_S = 180
"""Seconds to wait for a version's workers, which import torch beside those that serve."""
DRAIN_S = 120
"""Seconds after which a version that somebody still asks by its number is left alone."""
POLL_S = 0.25

Report = Callable[[str], None]


@dataclass(frozen=True)
class Former:
    """The version that was live before, and when it ceased to be (seconds since 1970)."""

    version: str
    left_at: float


class Switchboard:
    """Makes model versions live on one TorchServe; `report` receives progress."""

    def __init__(self, api: ModelApi, layout: Layout, report: Report) -> None:
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
            there = ", ".join(str(archive.version) for archive in archives(self._layout.store) if archive.version)
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
            if cause := torchserve.load_failure(log, version, begin):
                raise StackError(f"TorchServe cannot load {version} ({cause}); its log: {log}")
            self._report(f"waiting for {version}: {served.ready} of {workers} workers are ready ({elapsed:.0f} s)")
            time.sleep(POLL_S)
            served = self._served(version)

    def _prove(self, version: str) -> None:
        self._report(f"testing {version} on an image")
        said = self._api.judge(version)
        if said != version:
            raise StackError(f"the archive of {version} holds model version {said}: repack it")

    def _switch(self, live: Served, version: str) -> None:
        before = self.former()
        self._api.set_default(version)
        replace_text(self._layout.former_version, json.dumps(asdict(Former(live.version, time.time()))))
        torchserve.load_at_start(self._layout.config, self._served(version).archive)
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
