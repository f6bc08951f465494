from __future__ import annotations

from pathlib import Path

import pytest

from handler.spec import ModelSpec
from tests.training.conftest import Pipeline
from tests.training.marks import NOISE
from training import compare_engines
from training.compare_engines import Difference

pytestmark = NOISE
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
    code = compared(monkeypatch, "--archive", str(pipeline.archive), "--data", str(pipeline.params.data.root))
    said = capsys.readouterr().out.splitlines()[-1]
    assert not code
    assert said.startswith("f32: probabilities differ by 0.000")
    assert " 0 of " in said


def test_a_difference_in_a_verdict_or_beyond_a_hundredth_counts() -> None:
    same = Difference.of([0.0, 2.0], [0.0, 2.0], SPEC)
    near = Difference.of([0.0, 2.0], [0.03, 2.0], SPEC)
    far = Difference.of([0.0, 2.0], [0.1, 2.0], SPEC)
    other = Difference.of([0.40, 2.0], [0.41, 2.0], SPEC)
    assert [one.harmless for one in (same, near, far, other)] == [True, True, False, False]
    assert near.largest == pytest.approx(0.0072)
    assert (near.verdicts, other.verdicts) == (0, 1)
    assert str(other) == ("probabilities differ by 0.0025 at most and 0.0013 on average, 1 of 2 verdicts are others")


def test_data_that_is_not_there_is_one_clear_line(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = compared(monkeypatch, "--archive", str(pipeline.archive), "--data", str(tmp_path))
    assert str(said).startswith(f"compare_engines: no manifest at {tmp_path}/manifest.csv")
