"""From an upload to a verdict: gateway, real TorchServe, and the archive that ships."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from deploy.layout import ROOT
from deploy.torchserve.process import ARCHIVE
from handler.engines import AUTO, cpus
from handler.spec import decide
from handler.transforms import to_pixels
from training.data.manifest import Photo, read_photo
from training.scoring.archive import read_packed


def test_evaluation_and_http_give_the_same_probability(
    gateway: httpx.Client, coffee: Path, rotated: Path, tmp_path: Path
) -> None:
    """As training predicts: the photo from its folder, by the engine that serves."""
    packed = read_packed(ROOT / "model_store" / ARCHIVE, tmp_path)
    engine = packed.engine(cpus(), AUTO)
    for path in (coffee, rotated):
        photo = Photo(path.name, "real", "dev", "test", "camera", "objects", path.name, "none")
        [forward] = engine.run([to_pixels(read_photo(path.parent, photo), packed.spec)], [False])
        answer = gateway.post("/predict", files={"file": path.read_bytes()}).json()
        assert answer["probability"] == pytest.approx(decide(forward.logit, packed.spec).probability, abs=1e-4)
        assert answer["model_version"] == packed.spec.version
