"""The whole pipeline from a clean clone, on the tiny generated set: two to three minutes on two cores that are free."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from mlflow import MlflowClient

from tests.ops.checkout import Checkout
from tests.training.marks import NOISE

pytestmark = [*NOISE, pytest.mark.timeout(900)]
STAGES = ["download", "validate", "features", "train", "crossvalidate", "calibrate", "evaluate", "reference", "package"]
ARCHIVE = "model_store/product-photo-detector.mar"


def repro(checkout: Checkout, *settings: str) -> list[str]:
    """Change settings, bring the pipeline up to date, and return the stages that ran."""
    if settings:
        checkout.run("python", "-m", "training.set_params", *settings)
    return re.findall("^Running stage '(.*)'", checkout.run("dvc", "repro"), flags=re.MULTILINE)


def written(checkout: Checkout) -> Iterator[tuple[str, int]]:
    for folder in ("data", "runs", "reports", "model_store"):
        for file in sorted((checkout.root / folder).rglob("*")):
            yield str(file), file.stat().st_mtime_ns


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, list[str]]:
    """The folder in a clone in which `make repro TINY=1` did what it does, and the stages that ran."""
    clone = Checkout.of_this_project(tmp_path_factory.mktemp("clone"))
    clone.run("python", "-m", "training.set_params", "--preset", "tiny", "--apart", "var/tiny")
    checkout = Checkout(clone.root / "var" / "tiny")
    return checkout, repro(checkout)


@pytest.fixture
def checkout(first: tuple[Checkout, list[str]]) -> Checkout:
    return first[0]


def test_a_clean_clone_runs_every_stage_to_the_archive(first: tuple[Checkout, list[str]]) -> None:
    checkout, ran = first
    assert sorted(ran) == sorted(STAGES)
    with ZipFile(checkout.root / ARCHIVE) as archive:
        assert archive.testzip() is None
        assert {"model.safetensors", "model-config.yaml"} <= set(archive.namelist())
    assert checkout.run("dvc", "status").strip() == "Data and pipelines are up to date."


def test_the_checkout_is_left_as_it_was(checkout: Checkout) -> None:
    """A toy takes the place of no model, of no parameters and of no reference."""
    assert checkout.run("git", "status", "--porcelain", "--untracked-files=all") == ""
    (clone,) = checkout.root.parents[1:2]
    assert sorted(path.name for path in clone.iterdir()) == sorted(
        [".git", ".dvc", ".dvcignore", ".gitignore", "dvc.yaml", "handler", "params.yaml", "training", "var"]
    )
    assert "version: 0.0.0-tiny" in (checkout.root / "params.yaml").read_text(encoding="utf-8")


def test_a_second_run_does_nothing(checkout: Checkout) -> None:
    before = dict(written(checkout))
    assert repro(checkout) == []
    assert dict(written(checkout)) == before


def test_every_run_is_in_mlflow(checkout: Checkout) -> None:
    client = MlflowClient(f"sqlite:///{checkout.root / 'mlflow.db'}")
    runs = {run.data.tags["stage"]: run for run in client.search_runs(["1"])}
    assert set(runs) == {"download", "validate", "train, crossvalidate, calibrate, evaluate, reference, package"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    (pipeline,) = (run for stages, run in runs.items() if stages.startswith("train"))
    metrics = json.loads((checkout.root / "reports" / "metrics.json").read_text(encoding="utf-8"))
    logged = pipeline.data.metrics["test/unseen_sources/auroc"]
    assert logged == metrics["splits"]["test"]["unseen_sources"]["auroc"]
    assert {"train/loss", "val/auroc"} <= set(pipeline.data.metrics)
    assert {tag for tag in ("data_hash", "mlflow.source.git.commit") if tag in pipeline.data.tags} == {
        "data_hash",
        "mlflow.source.git.commit",
    }
    artifacts = checkout.root / "mlruns" / pipeline.info.run_id / "artifacts"
    assert (artifacts / "model.safetensors").read_bytes() == (
        checkout.root / "runs" / "default" / "model.safetensors"
    ).read_bytes()


def test_figures_and_plots_show_up_in_dvc(checkout: Checkout) -> None:
    shown = json.loads(checkout.run("dvc", "metrics", "show", "--json"))[""]["data"]
    assert 0 <= shown["reports/metrics.json"]["data"]["splits"]["test"]["unseen_sources"]["auroc"] <= 1
    assert set(shown) == {
        f"reports/{name}.json" for name in ("calibration", "crossvalidation", "data_validation", "metrics")
    }
    page = Path(checkout.run("dvc", "plots", "show").strip().removeprefix("file://")).read_text(encoding="utf-8")
    assert [name for name in ("training loss", "ROC", "verdicts on dev", "reliability.png") if name not in page] == []


def test_a_parameter_runs_what_depends_on_it_and_no_more(checkout: Checkout) -> None:
    """The number of resamplings changes intervals, but neither weights nor threshold: nor what is made of these."""
    ran = repro(checkout, "evaluate.bootstrap_samples=50")
    assert sorted(ran) == ["calibrate", "crossvalidate", "evaluate", "package"]
