"""What ships in the model store belongs to this checkout."""

import json
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageDraw

import handler
from handler import heads
from handler.detector import Detector, Item, Prediction
from handler.spec import ModelSpec
from tests.handler.pictures import encode
from training.scoring.archive import read_packed

pytestmark = pytest.mark.slow

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


def test_pictures_of_nothing_get_a_verdict_that_agrees_with_itself(tmp_path: Path) -> None:
    """A silhouette and a black square were once `real` with a probability of 0.81 and high confidence."""
    black, silhouette = Image.new("RGB", (800, 800)), Image.new("RGB", (400, 328), "white")
    ImageDraw.Draw(silhouette).ellipse((60, 80, 340, 260), fill="black")
    packed = read_packed(ARCHIVE, tmp_path)
    detector = Detector(packed.spec, packed.engine(1, "f32"), heads.load(packed.weights, packed.spec))
    for answer in detector.predict([Item(encode(image, "PNG"), explain=True) for image in (black, silhouette)]):
        assert isinstance(answer, Prediction)
        verdict = answer.verdict
        assert (verdict.prediction == "ai_generated") == (verdict.probability >= 0.5)
        assert (verdict.confidence == "high") == (abs(verdict.probability - 0.5) > 0.3)


def test_the_archive_is_at_most_64_mb() -> None:
    assert ARCHIVE.stat().st_size <= 64_000_000
