"""`dvc.yaml` says what the code does: which files and parameters each stage reads."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops.checkout import Checkout
from training.paths import Paths

STAGES: dict[str, Any] = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS: dict[str, dict[str, Any]] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
KEYS = {f"{section}.{key}" for section, values in PARAMS.items() for key in values}
PLUMBING = {
    f"training/{name}.py"
    for name in (
        "atomic",
        "command_line",
        "params",
        "paths",
        "resume",
        "tracking/mlflow_runs",
        "tracking/provenance",
        "tracking/stage",
        "tracking/steady_logger",
    )
}
"""Modules that read arguments, name files or write what they are given, log or mark: they change no result."""

WAITS = [
    ("download", "validate"),
    ("validate", "features"),
    ("validate", "train"),
    ("features", "train"),
    ("features", "crossvalidate"),
    ("train", "calibrate"),
    ("crossvalidate", "calibrate"),
    ("calibrate", "evaluate"),
    ("calibrate", "reference"),
    ("evaluate", "package"),
]


def parameters(stage: str) -> set[str]:
    return {name for name in STAGES[stage].get("params", []) if isinstance(name, str)}


def keys(stage: str) -> set[str]:
    """The keys of `params.yaml` that a stage lists, sections spelled out."""
    return {key for key in KEYS for name in parameters(stage) if key == name or key.startswith(f"{name}.")}


def outputs(stage: str) -> dict[str, dict[str, Any]]:
    """What a stage writes, with its options."""
    entries = itertools.chain.from_iterable(STAGES[stage].get(kind, []) for kind in ("outs", "metrics", "plots"))
    return dict(next(iter(entry.items())) if isinstance(entry, dict) else (entry, {}) for entry in entries)


def code(entry: str) -> set[str]:
    """A dependency's modules: itself, or those of a folder."""
    path = Path(entry)
    return {str(file) for file in path.rglob("*.py")} if path.is_dir() else {entry} if path.suffix == ".py" else set()


def imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in {"handler", "training"}:
            package = Path(*node.module.split("."))
            for name in node.names:
                modules = ((package / name.name).with_suffix(".py"), package.with_suffix(".py"))
                yield from [module for module in modules if module.is_file()][:1]


def reached(stage: str) -> set[str]:
    """Every module of ours that the stage's module imports, directly or not."""
    found: set[Path] = set()
    waiting = [Path(f"training/{stage}.py")]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += imported(module)
    return {str(module) for module in found}


def test_the_stages_form_a_pipeline_that_dvc_accepts(tmp_path: Path) -> None:
    """Also: training waits for the data checks, and the archive for the evaluation."""
    checkout = Checkout.of_this_project(tmp_path)
    assert checkout.run("dvc", "stage", "list", "--name-only").splitlines() == list(STAGES)
    graph = checkout.run("dvc", "dag", "--dot")
    assert {f'"{earlier}" -> "{later}"' for earlier, later in WAITS} <= {
        line.strip(" ;") for line in graph.splitlines()
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    listed = set().union(*(code(entry) for entry in STAGES[stage]["deps"]))
    needed = reached(stage) - PLUMBING
    assert needed - listed == set()
    assert {module for module in listed - needed if not module.endswith("__init__.py")} == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_parameters_that_exist(stage: str) -> None:
    assert parameters(stage) <= KEYS | set(PARAMS)


def test_every_parameter_is_some_stages() -> None:
    assert set().union(*map(keys, STAGES)) == KEYS


def test_a_stage_runs_its_module() -> None:
    assert {stage: details["cmd"].removesuffix(" --resume-interrupted") for stage, details in STAGES.items()} == {
        stage: f"python -m training.{stage}" for stage in STAGES
    }


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("data.source", "download"),
        ("data.num_workers", "features"),
        ("validate.max_metadata_auc", "validate"),
        ("augment.quality_min", "validate"),
        ("train.epochs", "train"),
        ("train.early_stopping_patience", "train"),
        ("crossvalidate.folds", "crossvalidate"),
        ("model.version", "calibrate"),
        ("calibrate.operating_point", "calibrate"),
        ("evaluate.max_regression", "evaluate"),
    ],
)
def test_a_parameter_concerns_no_stage_before_those_that_read_it(key: str, first: str) -> None:
    assert next(stage for stage in STAGES if key in keys(stage)) == first


def test_evaluation_and_version_do_not_touch_training() -> None:
    assert {
        key for key in keys("train") if key.startswith(("evaluate", "calibrate", "crossvalidate", "validate"))
    } == set()
    assert "model.version" not in keys("train")


def test_the_length_of_training_does_not_touch_cross_validation() -> None:
    assert {key for key in KEYS if key.startswith("train.")} - keys("crossvalidate") == {
        "train.epochs",
        "train.early_stopping_patience",
    }


def test_every_file_that_a_stage_writes_is_an_output_but_for_what_is_left_of_work() -> None:
    paths = Paths()
    files = {str(getattr(paths, name)) for name, value in vars(Paths).items() if isinstance(value, property)}
    working = {paths.checkpoints, paths.folds, paths.baseline, paths.figures, paths.graph}  # its folder is
    written = set().union(*map(outputs, STAGES))
    assert files - {str(file) for file in working} - written == set()
    assert {str(Path(out).parent) for out in written if out.startswith("reports/figures/")} == {str(paths.figures)}


def test_what_git_keeps_is_not_in_dvcs_cache_as_well() -> None:
    written = itertools.chain.from_iterable(outputs(stage).items() for stage in STAGES)
    cached = {name for name, options in written if options.get("cache", True)}
    assert cached == {
        "${data.root}",
        "reports/data_validation.html",
        "reports/evaluation.html",
        "runs/default/features.safetensors",
        "runs/default/graphs",
        "runs/default/logs/metrics.csv",
        "runs/default/model.safetensors",
        "runs/default/out_of_fold.csv",
        "runs/default/params.yaml",
        "runs/default/spec.yaml",
    }
