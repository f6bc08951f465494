from pathlib import Path

import pytest
import torch

from handler.spec import ModelSpec
from tests.training.conftest import Pipeline
from tests.training.marks import NOISE
from training.data.manifest import LABELS, read_manifest
from training.scoring import compare_engines
from training.scoring.compare_engines import Difference

pytestmark = [pytest.mark.slow, *NOISE]
SPEC = ModelSpec(version="1", base_rate=0.4)


def compared(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """What the command ends with."""
    monkeypatch.setattr("sys.argv", ["compare_engines", *words])
    with pytest.raises(SystemExit) as ended:
        compare_engines.main()
    return ended.value.code


def test_what_is_served_differs_from_pytorch_by_nothing_that_counts(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = compared(
        monkeypatch, "--archive", str(pipeline.archive), "--data", str(pipeline.params.data.root), "--precision", "f32"
    )
    said = capsys.readouterr().out.splitlines()[-1]
    assert not code
    assert said.startswith("f32: AUROC differs by +0.0000 and calibration error by +0.0000, probabilities by 0.000")
    assert " 0 of " in said


def test_what_auroc_and_calibration_lose_counts_and_single_probabilities_do_not(pipeline: Pipeline) -> None:
    manifest = read_manifest(pipeline.params.data.root, pipeline.params.data.manifest)
    real, fake = (next(photo for photo in manifest if photo.label == label) for label in LABELS)
    photos, expected = [real, real, fake, fake], [-2.0, 0.0, 0.6, 2.0]
    same, near, flatter, swapped = (
        Difference.of(photos, torch.tensor(found), torch.tensor(expected), SPEC)
        for found in (expected, [-2.0, 0.0, 0.61, 2.01], [-0.5, 0.0, 0.1, 0.5], [-2.0, 0.6, 0.0, 2.0])
    )
    assert [one.harmless for one in (same, near, flatter, swapped)] == [True, True, False, False]
    assert (swapped.auroc, swapped.verdicts, flatter.auroc) == (-0.25, 2, 0)
    assert str(same) == (
        "AUROC differs by +0.0000 and calibration error by +0.0000, probabilities by 0.0000 at most, "
        "0 of 4 predictions differ"
    )


def test_data_that_is_not_there_is_one_clear_line(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = compared(monkeypatch, "--archive", str(pipeline.archive), "--data", str(tmp_path))
    assert str(said).startswith(f"compare_engines: no manifest at {tmp_path}/manifest.csv")
