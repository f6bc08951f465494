import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

import handler
from handler.spec import InvalidSpecError, ModelSpec
from tests.training.conftest import Command, Pipeline
from tests.training.marks import NOISE
from training import package, repack
from training.files import StageError, unpack
from training.package import SERVING, build_archive

pytestmark = NOISE
CODE = Path(handler.__file__).parent


def packed_spec(pipeline: Pipeline) -> ModelSpec:
    """The spec with what its operating point gives on test."""
    reached = pipeline.report["operating_points"]["test"]["false_alarms_5"]
    rates = {name: reached[name] for name in ("true_positive_rate", "false_positive_rate")}
    return dataclasses.replace(pipeline.spec, **rates)


def test_the_archive_holds_the_handlers_code_the_weights_and_the_spec(pipeline: Pipeline) -> None:
    assert pipeline.archive == pipeline.paths.store / "product-photo-detector.mar"
    modules = {file.name for file in CODE.glob("*.py")} - {"torchserve_entry.py"}
    with zipfile.ZipFile(pipeline.archive) as archive:
        assert archive.testzip() is None
        files = {name for name in archive.namelist() if not name.endswith("/")}
        assert files == {f"handler/{name}" for name in modules} | {
            "torchserve_entry.py",
            "model.safetensors",
            "network.xml",
            "network.bin",
            "model-config.yaml",
            "MAR-INF/MANIFEST.json",
        }
        for name in modules:
            assert archive.read(f"handler/{name}") == (CODE / name).read_bytes()
        assert archive.read("torchserve_entry.py") == (CODE / "torchserve_entry.py").read_bytes()
        assert archive.read("model.safetensors") == pipeline.paths.weights.read_bytes()
        config = yaml.safe_load(archive.read("model-config.yaml"))
        model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
    assert config == SERVING | {"spec": packed_spec(pipeline).to_mapping()}
    assert (model["modelName"], model["modelVersion"]) == ("product-photo-detector", pipeline.params.model.version)
    assert (model["handler"], model["serializedFile"]) == ("torchserve_entry.py", "model.safetensors")


def test_the_store_holds_the_archive_its_figures_and_its_card(pipeline: Pipeline) -> None:
    assert sorted(file.name for file in pipeline.paths.store.iterdir()) == [
        "MODEL_CARD.md",
        "metrics.json",
        "product-photo-detector.mar",
        "reference.json",
    ]
    assert (pipeline.paths.store / "metrics.json").read_bytes() == pipeline.paths.metrics.read_bytes()


def test_the_command_logs_archive_and_card(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    paths, log = command(package)
    assert log.artifacts == [paths.store / "product-photo-detector.mar", paths.store / "MODEL_CARD.md"]
    assert capsys.readouterr().out == f"archive and model card in {paths.store}\n"


def test_a_run_that_was_not_evaluated_writes_no_archive(command: Command, tmp_path: Path) -> None:
    reports, store = tmp_path / "reports", tmp_path / "store"
    with pytest.raises(SystemExit) as stopped:
        command(package, "--reports", str(reports), "--store", str(store))
    assert stopped.value.code == f"package: no {reports}/metrics.json: run `python -m training.evaluate` first"
    assert not store.exists()


def test_weights_that_are_not_there_are_reported_by_the_archiver(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"absent\.safetensors"):
        build_archive(ModelSpec(version="1.0.0"), tmp_path / "absent.safetensors", tmp_path / "store" / "a.mar")


def test_packing_again_replaces_the_archive(pipeline: Pipeline, tmp_path: Path) -> None:
    archive = tmp_path / "store" / "a.mar"
    for version in ("1.0.0", "1.0.1"):
        assert (
            build_archive(dataclasses.replace(pipeline.spec, version=version), pipeline.paths.weights, archive)
            == archive
        )
    with zipfile.ZipFile(archive) as packed:
        assert yaml.safe_load(packed.read("model-config.yaml"))["spec"]["version"] == "1.0.1"
    assert list(archive.parent.iterdir()) == [archive]


def test_a_model_is_repacked_with_other_settings_of_serving(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = Path(shutil.copy(pipeline.archive, tmp_path))
    (tmp_path / "tuned.yaml").write_text("threads: 3\nbatchSize: 2\n")
    command = ["repack", "1.2.0", "--archive", str(archive), "--serving", str(tmp_path / "tuned.yaml")]
    monkeypatch.setattr("sys.argv", command)
    repack.main()
    repacked = Path(capsys.readouterr().out.strip())
    assert repacked == tmp_path / "product-photo-detector-1.2.0.mar"
    assert archive.read_bytes() == pipeline.archive.read_bytes()
    with zipfile.ZipFile(repacked) as packed:
        config = yaml.safe_load(packed.read("model-config.yaml"))
        model = json.loads(packed.read("MAR-INF/MANIFEST.json"))["model"]
        assert packed.read("model.safetensors") == pipeline.paths.weights.read_bytes()
    assert (model["modelName"], model["modelVersion"]) == ("product-photo-detector", "1.2.0")
    assert config == SERVING | {
        "threads": 3,
        "batchSize": 2,
        "spec": packed_spec(pipeline).to_mapping() | {"version": "1.2.0"},
    }
    (tmp_path / "tuned.yaml").write_text("batchsize: 2\n")
    with pytest.raises(SystemExit, match="unknown serving settings: batchsize; valid: minWorkers"):
        repack.main()


def test_a_model_is_repacked_for_another_base_rate_and_from_an_archive_that_had_a_threshold(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.mar"
    fields = {"version": "1.2.0", "architecture": pipeline.spec.architecture, "threshold": 0.8124}
    with zipfile.ZipFile(old, "w") as archive:
        archive.writestr("model-config.yaml", yaml.safe_dump({"spec": fields}))
        archive.write(pipeline.paths.weights, "model.safetensors")
    with pytest.raises(InvalidSpecError, match=r"training\.repack VERSION --archive FILE"):
        ModelSpec.from_mapping(unpack(old, tmp_path)[0])
    monkeypatch.setattr("sys.argv", ["repack", "1.2.1", "--archive", str(old)])
    repack.main()
    fields, _ = unpack(Path(capsys.readouterr().out.strip()), tmp_path)
    assert ModelSpec.from_mapping(fields) == ModelSpec("1.2.1", pipeline.spec.architecture, base_rate=0.1876)
    monkeypatch.setattr("sys.argv", ["repack", "1.2.2", "--archive", str(pipeline.archive), "--base-rate", "0.02"])
    repack.main()
    packed = Path(capsys.readouterr().out.strip())
    fields, _ = unpack(packed, tmp_path)
    packed.unlink()
    assert ModelSpec.from_mapping(fields) == dataclasses.replace(
        pipeline.spec, version="1.2.2", base_rate=0.02, operating_point=""
    )
    monkeypatch.setattr("sys.argv", ["repack", "1.2.3", "--archive", str(old), "--base-rate", "2"])
    with pytest.raises(SystemExit, match="base_rate is out of range: 2"):
        repack.main()
