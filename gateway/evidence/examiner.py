"""All kinds of evidence in one list, from the bytes as they were uploaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog
from anyio import CapacityLimiter, move_on_after, to_thread
from structlog.typing import FilteringBoundLogger

from gateway.evidence.budget import SECONDS, Budget, OverBudgetError
from gateway.evidence.c2pa import ManifestReader
from gateway.evidence.exif_tags import exif_evidence
from gateway.evidence.png_traces import png_evidence
from gateway.evidence.xmp import xmp_evidence
from gateway.images.blocks import blocks
from gateway.images.reader import content_type
from gateway.schemas import Evidence

MOST: Final = 20
"""Findings that one answer holds; nothing honest has as many."""
THREADS: Final = 1
"""Images that are looked over at the same time: what one may cost in memory is not to be paid twice."""
_LEFT_OUT: Final = Evidence(type="incomplete", value="left out: more metadata than is read", strength="weak")
_NO_TIME: Final = Evidence(type="incomplete", value="left out: no time to read the metadata", strength="weak")

_log: FilteringBoundLogger = structlog.get_logger()


class Examiner:
    """Looks an image's file over for what it says about its origin."""

    def __init__(self, trust_anchors_file: Path | None) -> None:
        self._manifests = ManifestReader(trust_anchors_file.read_text() if trust_anchors_file else None)
        # Apart from the pool that checks uploads, so that nobody's metadata keeps others' uploads waiting.
        self._limiter = CapacityLimiter(THREADS)

    async def evidence(self, data: bytes) -> list[Evidence]:
        """The findings in a checked image, from a thread, or that there was no time for it."""
        budget = Budget()
        with move_on_after(SECONDS):
            return await to_thread.run_sync(self.examine, data, budget, limiter=self._limiter)
        return [_NO_TIME]

    def examine(self, data: bytes, budget: Budget | None = None) -> list[Evidence]:
        """The findings, each once; where the budget ends, the last one says so."""
        budget = budget or Budget()
        kind = content_type(data)
        found = list(blocks(data, kind))
        readers: dict[str, Callable[[], Iterable[Evidence]]] = {
            "c2pa": lambda: self._manifests.evidence(data, kind, found),
            "xmp": lambda: xmp_evidence(found, budget),
            "exif": lambda: exif_evidence(found, budget),
            "png": lambda: png_evidence(found, budget),
        }
        findings: dict[Evidence, None] = {}
        read = [_read(name, reader, findings) for name, reader in readers.items()]
        return [*findings][:MOST] if all(read) else [*[*findings][: MOST - 1], _LEFT_OUT]


def _read(name: str, reader: Callable[[], Iterable[Evidence]], findings: dict[Evidence, None]) -> bool:
    """Add what a reader finds; whether it came to its end."""
    try:
        for finding in reader():
            findings[finding] = None
            if len(findings) >= MOST:
                break
    except OverBudgetError:
        return False
    except Exception as error:  # noqa: BLE001 - evidence is an extra: whatever the bytes do, the verdict must get through
        _log.warning("evidence_reader_failed", reader=name, cause=type(error).__name__)
    return True
