"""What ships in the model store belongs to this checkout."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import yaml

import handler
from handler.spec import ModelSpec

STORE = Path("model_store")
ARCHIVE = STORE / "product-photo-detector.mar"


def test_the_archives_code_is_this_checkouts_handler() -> None:
    sources = {f"handler/{path.name}": path.read_bytes() for path in Path(handler.__file__).parent.glob("*.py")}
    entry = sources.pop("handler/torchserve_entry.py")
    with zipfile.ZipFile(ARCHIVE) as packed:
        assert {name: packed.read(name) for name in packed.namelist() if name.startswith("handler/")} == sources
        assert packed.read("torchserve_entry.py") == entry


def test_archive_figures_and_card_are_of_one_version() -> None:
    with zipfile.ZipFile(ARCHIVE) as packed:
        spec = ModelSpec.from_mapping(yaml.safe_load(packed.read("model-config.yaml"))["spec"])
        manifest = json.loads(packed.read("MAR-INF/MANIFEST.json"))
    assert manifest["model"]["modelVersion"] == spec.version
    assert json.loads((STORE / "metrics.json").read_text(encoding="utf-8"))["model_version"] == spec.version
    card = (STORE / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith(f"# Model card: product photo detector {spec.version}\n")
    assert f"Temperature {spec.temperature} (arXiv" in card


def test_the_archive_is_at_most_20_mb() -> None:
    assert ARCHIVE.stat().st_size <= 20_000_000
