"""Resuming after an interruption: a marker in the run's folder identifies the unfinished training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.params import Params
from training.paths import Paths
from training.tracking import provenance

_DECISIVE = ("data.", "model.", "train.", "augment.")


@contextmanager
def resumable(params: Params, paths: Paths, *, resume: bool) -> Iterator[Path | None]:
    """Yield the checkpoint to go on from, None for a training from the start; mark it as unfinished meanwhile.

    A training from the start removes the last checkpoint of another, which the next one must not take for its own.
    """
    last = paths.checkpoints / "last.ckpt"
    first = not provenance.follows_another_process()
    if first:
        paths.run.mkdir(parents=True, exist_ok=True)
        if not resume:
            last.unlink(missing_ok=True)
        _mark(paths).write_text(_fingerprint(params), encoding="utf-8")
    yield last if last.is_file() else None
    if first:
        _mark(paths).unlink()


def was_interrupted(params: Params, paths: Paths) -> bool:
    """Return whether a training with the same parameters and data was started in this run and did not finish."""
    return _mark(paths).is_file() and _mark(paths).read_text(encoding="utf-8") == _fingerprint(params)


def _mark(paths: Paths) -> Path:
    return paths.run / "unfinished"


def _fingerprint(params: Params) -> str:
    values = {key: value for key, value in provenance.flat(params).items() if key.startswith(_DECISIVE)}
    return hashlib.sha256(json.dumps([values, provenance.data_hash(params)]).encode()).hexdigest()
