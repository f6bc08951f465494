import shutil
import sys
from pathlib import Path

import pytest
import yaml

from handler.spec import ModelSpec
from training import params as parameters
from training.files import Paths
from training.params import InvalidParamsError, dump, load, parse_command_line

FILE = Path("params.yaml")


def test_a_missing_or_unknown_key_is_named(tmp_path: Path) -> None:
    values = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    del values["augment"]["crop_min_share"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(InvalidParamsError, match=r"params.yaml: augment\.crop_min_share: Field required$"):
        load(tmp_path / "params.yaml")
    with pytest.raises(InvalidParamsError, match=r"train\.epoch: Unexpected keyword argument"):
        load(FILE, ["train.epoch=3"])


@pytest.mark.parametrize("override", ["trian.epochs=3", "train.epochs", "epochs=3", "=", ""])
def test_a_malformed_override_says_how_to_write_it(override: str) -> None:
    with pytest.raises(InvalidParamsError, match=r"write SECTION\.KEY=VALUE with a section of data, validate, model"):
        load(FILE, [override])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("validate.strict", "perhaps"),
        ("validate.max_statistics_auc", "1.1"),
        ("model.crop_pct", "1.1"),
        ("train.epochs", "0"),
        ("train.lr", "fast"),
        ("augment.quality_min", "0"),
        ("crossvalidate.folds", "-1"),
        ("calibrate.operating_point", "best"),
        ("evaluate.product_domains", "shoes"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_keys_name(key: str, value: str) -> None:
    with pytest.raises(InvalidParamsError, match=rf"^params\.yaml: {key}[.:]"):
        load(FILE, [f"{key}={value}"])


def test_overrides_have_the_keys_types() -> None:
    params = load(
        FILE, ["train.epochs=3", "train.lr=1e-4", "validate.strict=true", "data.root=/photos", "train.devices=2"]
    )
    assert (params.train.epochs, params.train.lr, params.validate.strict) == (3, 0.0001, True)
    assert (params.data.root, params.train.devices) == (Path("/photos"), 2)


def test_what_is_dumped_loads_again(tmp_path: Path) -> None:
    params = load(FILE, ["train.lr=3e-5", "data.root=elsewhere", "train.devices=1"])
    dump(params, tmp_path / "run" / "params.yaml")
    assert load(tmp_path / "run" / "params.yaml") == params


def test_the_spec_carries_the_models_parameters_and_what_calibration_found() -> None:
    words = ["version=7.0.0", "input_size=300", "crop_pct=0.9", "details=3", "detail_size=99"]
    params = load(FILE, [f"model.{word}" for word in words])
    spec = ModelSpec(
        "7.0.0", input_size=300, crop_pct=0.9, details=3, detail_size=99, temperature=1.5, offset=-2.0, base_rate=0.7
    )
    assert params.model.spec(1.5, -2.0, 0.7) == spec


def test_the_command_line_reads_every_override(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["--set", "train.epochs=3", "train.seed=7", "--set", "data.root=photos"]
    folders = ["--run", "a", "--store", "b", "--reports", "c"]
    monkeypatch.setattr(sys, "argv", ["calibrate", *overrides, *folders])
    params, paths, _ = parse_command_line("calibrate")
    assert (params.train.epochs, params.train.seed, params.data.root) == (3, 7, Path("photos"))
    assert paths == Paths(Path("a"), Path("b"), Path("c"))


def test_the_command_line_refuses_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--set", "train.epochs=0"])
    with pytest.raises(SystemExit) as stopped:
        parse_command_line("train")
    assert stopped.value.code == 2
    assert "params.yaml: train.epochs: Input should be greater than or equal to 1" in capsys.readouterr().err


def test_settings_are_written_into_the_file_beside_their_comments(tmp_path: Path) -> None:
    file = Path(shutil.copy(FILE, tmp_path))
    parameters.write_settings(file, ["data.source=tiny", "train.lr=0.5", "evaluate.product_domains=[a, b]"])
    assert load(file) == load(FILE, ["data.source=tiny", "train.lr=0.5", "evaluate.product_domains=[a, b]"])
    before, after = (text.read_text(encoding="utf-8").splitlines() for text in (FILE, file))
    changed = [line for old, line in zip(before, after, strict=True) if old != line]
    assert [line.split("#")[0].strip() for line in changed] == ["source: tiny", "lr: 0.5", "product_domains: [a, b]"]
    assert [line.split("#")[1:] for line in before] == [line.split("#")[1:] for line in after]


def test_a_setting_that_is_already_so_changes_no_byte(tmp_path: Path) -> None:
    file = Path(shutil.copy(FILE, tmp_path))
    parameters.write_settings(file, ["train.seed=42", "train.lr=1.0e-3"])
    assert file.read_bytes() == FILE.read_bytes()


def test_one_wrong_setting_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = Path(shutil.copy(FILE, tmp_path))
    with pytest.raises(InvalidParamsError, match=r"train\.epochs: "):
        parameters.write_settings(file, ["train.seed=7", "train.epochs=0"])
    assert file.read_bytes() == FILE.read_bytes()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", [file.stem for file in parameters.PRESETS.iterdir()])
def test_a_preset_is_valid_and_further_settings_go_before_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(shutil.copy(FILE, tmp_path))
    words = ["params", "--params", str(file), "--preset", name, "train.epochs=7"]
    monkeypatch.setattr(sys, "argv", words)
    parameters.main()
    assert load(file) == load(FILE, [*parameters.preset(name), "train.epochs=7"])
    assert load(file) != load(FILE, ["train.epochs=7"])


def test_data_and_weights_named_from_here_are_found_from_the_folder_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "clip.safetensors").touch()
    named = ["data.source=photos", "model.weights=clip.safetensors"]
    monkeypatch.setattr(sys, "argv", ["params", "--preset", "accurate", "--apart", "var/accurate", *named])
    parameters.main()
    settings = load(tmp_path / "var" / "accurate" / "params.yaml")
    assert settings.data.source == str(tmp_path / "photos")
    assert settings.model.weights == str(tmp_path / "clip.safetensors")
    assert f"model.version={settings.model.version}" in parameters.preset("accurate")
