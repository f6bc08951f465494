from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from handler.spec import ModelSpec
from training.command_line import parse_command_line
from training.params import InvalidParamsError, dump, load
from training.paths import Paths

FILE = Path("params.yaml")
VALUES = yaml.safe_load(FILE.read_text(encoding="utf-8"))
KEYS = [(section, key) for section, values in VALUES.items() for key in values]


@pytest.mark.parametrize(("section", "key"), KEYS, ids=[".".join(names) for names in KEYS])
def test_every_key_of_the_file_is_read(section: str, key: str) -> None:
    value = getattr(getattr(load(FILE), section), key)
    assert (str(value) if isinstance(value, Path) else value) == VALUES[section][key]


@pytest.mark.parametrize(("section", "key"), KEYS, ids=[".".join(names) for names in KEYS])
def test_a_missing_key_is_named(section: str, key: str, tmp_path: Path) -> None:
    lacking = VALUES | {section: {name: value for name, value in VALUES[section].items() if name != key}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(lacking), encoding="utf-8")
    with pytest.raises(InvalidParamsError, match=rf"params.yaml: {section}\.{key}: Field required$"):
        load(tmp_path / "params.yaml")


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(InvalidParamsError, match=r"train\.epoch: Unexpected keyword argument"):
        load(FILE, ["train.epoch=3"])


def test_an_unknown_section_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(VALUES | {"trian": {"epochs": 3}}), encoding="utf-8")
    with pytest.raises(InvalidParamsError, match="trian: Unexpected keyword argument"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize("override", ["trian.epochs=3", "train.epochs", "epochs=3", "=", ""])
def test_a_malformed_override_says_how_to_write_it(override: str) -> None:
    with pytest.raises(InvalidParamsError, match=r"write SECTION\.KEY=VALUE with a section of data, model, train"):
        load(FILE, [override])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.num_workers", "-1"),
        ("model.input_size", "0"),
        ("model.crop_pct", "1.1"),
        ("model.pretrained", "perhaps"),
        ("train.epochs", "0"),
        ("train.epochs", "1.5"),
        ("train.batch_size", "0"),
        ("train.lr", "0"),
        ("train.lr", "fast"),
        ("train.weight_decay", "-0.1"),
        ("train.warmup_epochs", "-1"),
        ("train.label_smoothing", "1"),
        ("train.ema_decay", "1"),
        ("train.precision", "64"),
        ("augment.crop_scale_min", "0"),
        ("augment.jpeg_quality_min", "0"),
        ("augment.jpeg_quality_max", "101"),
        ("augment.blur_probability", "1.01"),
        ("evaluate.bootstrap_samples", "0"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_keys_name(key: str, value: str) -> None:
    with pytest.raises(InvalidParamsError, match=rf"^params\.yaml: {key}[.:]"):
        load(FILE, [f"{key}={value}"])


def test_every_wrong_value_is_named_at_once() -> None:
    with pytest.raises(InvalidParamsError, match=r"train\.epochs: .*; .*train\.lr: "):
        load(FILE, ["train.epochs=0", "train.lr=-1"])


def test_overrides_have_the_keys_types() -> None:
    params = load(
        FILE, ["train.epochs=3", "train.lr=1e-4", "model.pretrained=false", "data.root=/photos", "train.devices=2"]
    )
    assert (params.train.epochs, params.train.lr, params.model.pretrained) == (3, 0.0001, False)
    assert (params.data.root, params.train.devices) == (Path("/photos"), 2)


def test_the_last_of_two_overrides_counts() -> None:
    assert load(FILE, ["train.seed=1", "train.seed=2"]).train.seed == 2


def test_what_is_dumped_loads_again(tmp_path: Path) -> None:
    params = load(FILE, ["train.lr=3e-5", "data.root=elsewhere", "train.devices=1"])
    dump(params, tmp_path / "run" / "params.yaml")
    assert load(tmp_path / "run" / "params.yaml") == params


def test_the_spec_carries_the_models_parameters_and_the_temperature() -> None:
    params = load(FILE, ["model.version=7.0.0", "model.input_size=300", "model.crop_pct=0.9"])
    assert params.model.spec(1.5) == ModelSpec(version="7.0.0", input_size=300, crop_pct=0.9, temperature=1.5)


def test_the_command_line_reads_every_override(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "--set",
        "train.epochs=3",
        "train.seed=7",
        "--set",
        "data.root=photos",
        "--run",
        "a",
        "--store",
        "b",
        "--resume",
    ]
    monkeypatch.setattr(sys, "argv", ["train", *words])
    params, paths, arguments = parse_command_line("train")
    assert (params.train.epochs, params.train.seed, params.data.root) == (3, 7, Path("photos"))
    assert (paths, arguments.resume) == (Paths(Path("a"), Path("b")), True)


def test_the_command_line_refuses_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--set", "train.epochs=0"])
    with pytest.raises(SystemExit) as stopped:
        parse_command_line("train")
    assert stopped.value.code == 2
    assert "params.yaml: train.epochs: Input should be greater than or equal to 1" in capsys.readouterr().err


def test_a_run_keeps_its_files_together() -> None:
    paths = Paths(Path("runs/a"))
    files = (paths.checkpoints, paths.weights, paths.spec, paths.metrics, paths.used_params)
    assert [str(file.relative_to("runs/a")) for file in files] == [
        "checkpoints",
        "model.safetensors",
        "spec.yaml",
        "metrics.json",
        "params.yaml",
    ]
