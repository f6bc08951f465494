"""Heat maps written to a folder under unique names."""

from __future__ import annotations

from pathlib import Path, PurePath

from gateway.client import Explanation, Outcome

STDIN_STEM = "stdin"


class Heatmaps:
    """Names the files after their photos; namesakes of one run get numbers."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._taken: set[str] = set()

    def save(self, photo: str, outcome: Outcome) -> str | None:
        """Write a photo's heat map; return its path, or None if there is none."""
        if not isinstance(outcome, Explanation):
            return None
        path = self._folder / self._name(STDIN_STEM if photo == "-" else PurePath(photo).stem)
        path.write_bytes(outcome.heatmap)
        return str(path)

    def _name(self, stem: str) -> str:
        name, number = f"{stem}-heatmap.jpg", 1
        while name.lower() in self._taken:  # some file systems know no case
            number += 1
            name = f"{stem}-heatmap-{number}.jpg"
        self._taken.add(name.lower())
        return name
