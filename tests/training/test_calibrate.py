import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from handler.spec import ModelSpec
from tests.training.conftest import Command, Pipeline, Tiny
from tests.training.marks import NOISE
from tests.training.pictures import AI, REAL, photo
from training import calibrate
from training.calibrate import calibration, cross_fitted, fit, source_weights
from training.data.manifest import of_split, read_manifest
from training.evaluation.figures import score
from training.files import Paths
from training.model.predict import predict

pytestmark = NOISE


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 6.0])
@pytest.mark.parametrize("offset", [-1.5, 0.0, 3.0])
def test_known_temperature_and_offset_are_found(temperature: float, offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(20_000, generator=generator)
    labels = torch.bernoulli(honest.sigmoid(), generator=generator)
    found_temperature, found_offset = fit(temperature * honest + offset, labels, torch.full((20_000,), 1 / 20_000))
    assert found_temperature == pytest.approx(temperature, rel=0.1)
    assert found_offset == pytest.approx(offset, abs=0.1 * temperature)


def test_a_class_and_a_source_weigh_the_same_however_many_photos_they_have() -> None:
    one = [photo(REAL, source="a"), photo(REAL, source="b"), photo(AI, source="a")]
    many = [one[0]] * 9 + [one[1]] + [one[2]] * 3
    assert source_weights(one).tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 2])
    assert source_weights(many).tolist() == pytest.approx([1 / 36] * 9 + [1 / 4] + [1 / 6] * 3)


def test_the_fit_stays_within_bounds() -> None:
    labels = torch.tensor([1.0, 1.0, 0.0, 0.0])
    right = torch.tensor([0.05, 0.03, -0.02, -0.04])
    temperature, offset = fit(right, labels, torch.full((4,), 1 / 4))
    assert (0.05 <= temperature < 1, abs(offset) < 0.05) == (True, True)
    temperature, offset = fit(-right, labels, torch.full((4,), 1 / 4))
    assert (temperature, abs(offset) <= 20) == (20, True)


def test_equal_logits_say_nothing_and_are_taken_as_undecided() -> None:
    assert fit(torch.zeros(4), torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.full((4,), 1 / 4)) == (1, 0)


def test_calibration_of_two_photos() -> None:
    sigmoid = 1 / (1 + math.exp(-1))
    predicted = score([photo(REAL), photo(AI)], torch.tensor([-2.0, 2.0]), ModelSpec(version="1", temperature=2))
    assert calibration(predicted) == {
        "expected_calibration_error": pytest.approx(1 - sigmoid),
        "negative_log_likelihood": pytest.approx(-math.log(sigmoid)),
    }


def test_neither_the_base_rate_nor_a_class_with_more_photos_changes_the_calibration() -> None:
    logits, spec = torch.tensor([-2.0, 0.5, 2.0]), ModelSpec(version="1")
    few = calibration(score([photo(REAL), photo(AI), photo(AI)], logits, spec))
    many = [photo(REAL)] * 9 + [photo(AI)] * 2
    repeated = torch.cat([logits[:1].repeat(9), logits[1:]])
    assert calibration(score(many, repeated, dataclasses.replace(spec, base_rate=0.1))) == pytest.approx(few)


def test_a_source_is_cross_fitted_by_what_the_others_show(tiny: Tiny) -> None:
    photos = [photo(label, source=source) for label in (REAL, AI) for source in (f"{label} 1", f"{label} 2")] * 10
    alike = torch.tensor([-1.0, -1.0, 1.0, 1.0] * 10) + torch.linspace(-2, 2, 40)
    apart = alike + torch.tensor([0.0, 0.0, 0.0, -9.0] * 10)  # the other source of its class does not show this
    found = [cross_fitted(photos, logits, tiny()) for logits in (alike, apart)]
    errors = [one["expected_calibration_error"] for one in found if one]
    assert errors[0] < 0.15
    assert errors[1] > 0.2
    assert cross_fitted(photos[:3], alike[:3], tiny()) is None


def test_the_stage_writes_the_finished_spec(pipeline: Pipeline) -> None:
    written = ModelSpec.from_mapping(yaml.safe_load(pipeline.paths.spec.read_text(encoding="utf-8")))
    report = pipeline.calibration
    assert written == pipeline.params.model.spec(
        report["temperature"], report["offset"], report["base_rate"], "false_alarms_5"
    )
    assert (report["temperature"], report["offset"]) == (round(report["temperature"], 4), round(report["offset"], 4))
    assert report["base_rate"] == report["operating_points"]["false_alarms_5"]["base_rate"]


def test_the_report_counts_dev_and_holds_both_sides_of_calibration(pipeline: Pipeline) -> None:
    report = json.loads(pipeline.paths.calibration.read_text(encoding="utf-8"))
    assert report["model_version"] == pipeline.params.model.version
    assert report["operating_point"] == "false_alarms_5"
    assert list(report["operating_points"]) == ["balanced", "false_alarms_5", "false_alarms_1"]
    assert report["after"]["negative_log_likelihood"] <= report["before"]["negative_log_likelihood"]
    with Image.open(pipeline.paths.figures / "calibrate" / "reliability.png") as diagram:
        assert diagram.format == "PNG"


def test_the_shipped_base_rate_flags_no_more_real_photos_of_dev_than_it_promises(pipeline: Pipeline) -> None:
    photos = of_split(read_manifest(pipeline.params.data.root, pipeline.params.data.manifest), "dev")
    predicted = score(photos, predict(pipeline.params, pipeline.paths, photos), pipeline.spec)
    point = pipeline.calibration["operating_points"]["false_alarms_5"]
    assert predicted.flagged[~predicted.generated].mean() == point["false_positive_rate"] == 0


def test_the_operating_point_is_a_parameter(pipeline: Pipeline, tiny: Tiny, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run", tmp_path / "store", tmp_path / "reports")
    paths.run.mkdir()
    paths.weights.write_bytes(pipeline.paths.weights.read_bytes())
    shutil.copytree(pipeline.paths.graph.parent, paths.graph.parent)
    report = calibrate.run(tiny("calibrate.operating_point=balanced"), paths)
    assert report["base_rate"] == report["operating_points"]["balanced"]["base_rate"]
    assert (report["n_real"], report["n_ai_generated"]) == (6, 6)


def test_the_command_logs_the_calibration_and_says_what_it_found(
    command: Command, pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, log = command(calibrate)
    assert log.stages == ["calibrate"]
    assert log.figures["calibrate/temperature"] == pipeline.temperature
    assert log.artifacts == [paths.calibration, paths.figures / "calibrate"]
    spec = pipeline.spec
    found = f"temperature {spec.temperature:.4f}, offset {spec.offset:.4f}, base_rate {spec.base_rate:.4f}"
    assert capsys.readouterr().out.splitlines()[-1] == f"{found}; spec in {paths.spec}"


def test_the_command_says_in_one_line_what_is_missing(command: Command, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        command(calibrate, "--run", str(tmp_path / "new"))
    assert stopped.value.code == f"calibrate: no {tmp_path}/new/model.safetensors: run `python -m training.train` first"
