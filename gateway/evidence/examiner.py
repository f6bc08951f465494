"""All kinds of evidence in one list, from the bytes as they were uploaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from gateway.evidence.c2pa import ManifestReader
from gateway.evidence.exif_tags import exif_evidence
from gateway.evidence.png_traces import png_evidence
from gateway.evidence.xmp import xmp_evidence
from gateway.images.blocks import blocks
from gateway.images.reader import content_type
from gateway.schemas import Evidence

MOST: Final = 20
"""Findings that one answer holds; nothing honest has as many."""

_log: FilteringBoundLogger = structlog.get_logger()


class Examiner:
    """Looks an image's file over for what it says about its origin."""

    def __init__(self, trust_anchors_file: Path | None) -> None:
        self._manifests = ManifestReader(trust_anchors_file.read_text() if trust_anchors_file else None)

    def examine(self, data: bytes) -> list[Evidence]:
        """The findings, each once, in a checked image; it blocks for milliseconds, so it belongs into a thread."""
        kind = content_type(data)
        found = list(blocks(data, kind))
        readers: dict[str, Callable[[], Iterable[Evidence]]] = {
            "c2pa": lambda: self._manifests.evidence(data, kind, found),
            "xmp": lambda: xmp_evidence(found),
            "exif": lambda: exif_evidence(found),
            "png": lambda: png_evidence(found),
        }
        findings: dict[Evidence, None] = {}
        for name, reader in readers.items():
            findings |= dict.fromkeys(_read(name, reader))
        return list(findings)[:MOST]


def _read(name: str, reader: Callable[[], Iterable[Evidence]]) -> list[Evidence]:
    try:
        return list(islice(reader(), MOST))
    except Exception as error:  # noqa: BLE001 - evidence is an extra: whatever the bytes do, the verdict must get through
        _log.warning("evidence_reader_failed", reader=name, cause=type(error).__name__)
        return []
