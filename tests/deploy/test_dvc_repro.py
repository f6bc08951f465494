"""The pipeline: a whole run from a clean clone on the tiny generated set, and what each stage's cache depends on."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from mlflow import MlflowClient

from tests.checks import none
from tests.deploy.checkout import Checkout
from tests.training.marks import NOISE

STAGES: dict[str, Any] = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS: dict[str, dict[str, Any]] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
KEYS = {f"{section}.{key}" for section, values in PARAMS.items() for key in values}
PLUMBING = {"training/params.py", "training/tracking.py"}
"""Modules that read arguments, name files or write what they are given, log or mark: they change no result."""


def keys(stage: str) -> set[str]:
    """The keys of `params.yaml` that a stage lists, sections spelled out."""
    named = [name for name in STAGES[stage].get("params", []) if isinstance(name, str)]
    return {key for key in KEYS for name in named if key == name or key.startswith(f"{name}.")}


def code(entry: str) -> set[str]:
    path = Path(entry)
    return {str(file) for file in path.rglob("*.py")} if path.is_dir() else {entry}


def imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in {"handler", "training"}:
            package = Path(*node.module.split("."))
            for name in node.names:
                modules = ((package / name.name).with_suffix(".py"), package.with_suffix(".py"))
                yield from [module for module in modules if module.is_file()][:1]


def reached(stage: str) -> set[str]:
    """Every module of ours that the stage's module imports, directly or not."""
    found, waiting = set[Path](), [Path(f"training/{stage}.py")]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += imported(module)
    return {str(module) for module in found}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_again_when_code_that_it_runs_has_changed(stage: str) -> None:
    needed = reached(stage) - PLUMBING
    none(needed - set().union(*(code(entry) for entry in STAGES[stage]["deps"])), of=needed)


def test_every_parameter_is_some_stages_and_concerns_none_before_those_that_read_it() -> None:
    assert set().union(*map(keys, STAGES)) == KEYS
    later = ("evaluate.", "calibrate.", "crossvalidate.", "validate.", "model.version")
    none((key for key in keys("train") if key.startswith(later)), of=keys("train"))
    assert {key for key in KEYS if key.startswith("train.")} - keys("crossvalidate") == {
        "train.epochs",
        "train.early_stopping_patience",
    }


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout.of_this_project(tmp_path_factory.mktemp("clone"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings(*(mark.args[0] for mark in NOISE))
def test_a_clean_clone_runs_every_stage_to_the_archive_once_and_keeps_figures_and_runs(clone: Checkout) -> None:
    """What `make repro TINY=1` does; a toy takes the place of no model, of no parameters and of no reference."""
    clone.run("python", "-m", "training.params", "--preset", "tiny", "--apart", "var/tiny")
    checkout = Checkout(clone.root / "var" / "tiny")
    ran = re.findall("^Running stage '(.*)'", checkout.run("dvc", "repro"), flags=re.MULTILINE)
    assert sorted(ran) == sorted(STAGES)
    with ZipFile(checkout.root / "model_store/product-photo-detector.mar") as archive:
        assert archive.testzip() is None
        assert {"model.safetensors", "model-config.yaml"} <= set(archive.namelist())
    assert checkout.run("dvc", "status").strip() == "Data and pipelines are up to date."
    assert clone.run("git", "status", "--porcelain", "--untracked-files=all") == ""

    client = MlflowClient(f"sqlite:///{checkout.root / 'mlflow.db'}")
    runs = {run.data.tags["stage"]: run for run in client.search_runs(["1"])}
    assert set(runs) == {"download", "validate", "train, crossvalidate, calibrate, evaluate, reference, package"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    (pipeline,) = (run for stages, run in runs.items() if stages.startswith("train"))
    metrics = json.loads((checkout.root / "reports" / "metrics.json").read_text(encoding="utf-8"))
    auroc = metrics["splits"]["test"]["unseen_sources"]["auroc"]
    assert pipeline.data.metrics["test/unseen_sources/auroc"] == auroc
    assert {"train/loss", "val/auroc"} <= set(pipeline.data.metrics)
    assert {"data_hash", "mlflow.source.git.commit"} <= set(pipeline.data.tags)
    shown = json.loads(checkout.run("dvc", "metrics", "show", "--json"))[""]["data"]
    assert shown["reports/metrics.json"]["data"]["splits"]["test"]["unseen_sources"]["auroc"] == auroc
    page = Path(checkout.run("dvc", "plots", "show").strip().removeprefix("file://")).read_text(encoding="utf-8")
    none((name for name in ("training loss", "ROC", "verdicts on dev") if name not in page), of=page)
