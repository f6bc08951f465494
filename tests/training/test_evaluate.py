import csv
import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

from tests.training.conftest import Command, Pipeline
from tests.training.marks import NOISE
from tests.training.pictures import AI, REAL, photo
from training import evaluate
from training.data.manifest import of_split, read_manifest
from training.evaluation.figures import score
from training.evaluation.robustness import CONDITIONS, HeldOut
from training.files import Paths, read_json, write_json
from training.model.predict import predict

pytestmark = NOISE
PLOTS = {
    "by_generator_auroc",
    "by_generator_flagged",
    "by_source_auroc",
    "by_source_flagged",
    "confusion_dev",
    "confusion_test",
    "precision_recall",
    "reliability",
    "robustness",
    "roc",
    "scores_dev",
    "scores_test",
}


def test_the_headline_is_written_and_counts_every_photo(pipeline: Pipeline) -> None:
    written = json.loads(pipeline.paths.metrics.read_text(encoding="utf-8"))
    assert written == pipeline.report
    assert written["model_version"] == pipeline.params.model.version
    assert (written["temperature"], written["base_rate"]) == (pipeline.temperature, pipeline.spec.base_rate)
    assert (
        list(written["splits"]) == list(written["robustness"]) == list(written["operating_points"]) == ["dev", "test"]
    )
    for split in written["splits"].values():
        assert (split["all_sources"]["n_real"], split["all_sources"]["n_ai_generated"]) == (6, 6)


def test_figures_of_unseen_sources_leave_out_every_source_that_training_had(pipeline: Pipeline) -> None:
    dev, test = pipeline.report["splits"]["dev"], pipeline.report["splits"]["test"]
    assert dev["unseen_sources"] is None
    assert (test["unseen_sources"]["n_real"], test["unseen_sources"]["n_ai_generated"]) == (1, 1)
    tables = read_json(pipeline.paths.tables, "evaluate")["splits"]
    assert tables["test"]["sources_in_train"] == ["ai_generated-large", "real-large"]


def test_figures_are_those_of_the_models_predictions(pipeline: Pipeline) -> None:
    photos = of_split(read_manifest(pipeline.params.data.root, pipeline.params.data.manifest), "test")
    predicted = score(photos, predict(pipeline.params, pipeline.paths, photos), pipeline.spec)
    found = pipeline.report["splits"]["test"]["all_sources"]
    assert found["auroc"] == pytest.approx(roc_auc_score(predicted.generated, predicted.probabilities), abs=1e-6)
    assert found["accuracy"] == pytest.approx((predicted.flagged == predicted.generated).mean(), abs=1e-6)


def test_false_alarms_on_product_photos_are_of_the_domains_named(pipeline: Pipeline) -> None:
    """Every photo of the tiny data is of shoes, which count."""
    for split in ("dev", "test"):
        figures = pipeline.report["splits"][split]
        products = figures["product_photos"]["all_sources"]
        assert products["n"] == 6
        assert products["false_positive_rate"] == figures["all_sources"]["false_positive_rate"]
    assert pipeline.report["splits"]["dev"]["product_photos"]["unseen_sources"] is None
    assert pipeline.report["splits"]["test"]["product_photos"]["unseen_sources"]["n"] == 1


def test_tables_hold_each_source_generator_and_domain_and_the_data(pipeline: Pipeline) -> None:
    tables = json.loads(pipeline.paths.tables.read_text(encoding="utf-8"))
    for name, split in tables["splits"].items():
        small = "unseen" if name == "test" else "small"
        assert {source: row["n"] for source, row in split["by_source"].items()} == {
            "ai_generated/ai_generated-large": 5,
            f"ai_generated/ai_generated-{small}": 1,
            "real/real-large": 5,
            f"real/real-{small}": 1,
        }
        assert {generator: row["n"] for generator, row in split["by_generator"].items()} == {"ai_generated/sd": 6}
        assert {domain: row["n"] for domain, row in split["by_domain"].items()} == {
            "ai_generated/shoes": 6,
            "real/shoes": 6,
        }
    counts: Counter[str] = Counter()
    for entry in tables["data"]:
        counts[entry["split"]] += entry["n"]
    assert counts == {"train": 24, "dev": 12, "test": 12}


def test_every_condition_is_measured_and_the_worst_is_named(pipeline: Pipeline) -> None:
    for rows in pipeline.report["robustness"].values():
        assert list(rows) == ["worst", "clean", *CONDITIONS]
        worst = rows["worst"]
        assert (
            worst["auroc"]
            == rows[worst["condition"]]["auroc"]
            == min(row["auroc"] for name, row in rows.items() if name != "worst")
        )
        assert (rows["clean"]["probability_change"], rows["clean"]["flipped"]) == (0, 0)


def test_curves_are_for_dvc_to_draw(pipeline: Pipeline) -> None:
    folder = pipeline.paths.curves / "dev"
    tables = {}
    for name in ("roc", "pr", "confusion"):
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            tables[name] = list(csv.DictReader(file))
    assert tables["roc"][0] == {"fpr": "0.0", "tpr": "0.0"}
    assert tables["roc"][-1] == {"fpr": "1.0", "tpr": "1.0"}
    assert tables["pr"][-1] == {"recall": "1.0", "precision": "0.5"}
    assert Counter(row["actual"] for row in tables["confusion"]) == {REAL: 6, AI: 6}


def test_the_headline_is_of_all_photos_where_unseen_sources_lack_a_class() -> None:
    photos = [photo(REAL, "old"), photo(AI, "new"), photo(AI, "old")]
    split = HeldOut(photos, {"clean": torch.arange(3.0)}, frozenset({"old"}))
    assert split.headline() is split
    split = HeldOut([*photos, photo(REAL, "new")], {"clean": torch.arange(4.0)}, frozenset({"old"}))
    assert [one.label for one in split.headline().photos] == [AI, REAL]
    assert split.headline().logits["clean"].tolist() == [1, 3]


def test_the_command_logs_what_it_wrote_and_leaves_no_plot_of_an_older_run(
    command: Command, pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "pipeline" / "reports" / "figures" / "evaluate" / "stale.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    paths, log = command(evaluate)
    assert read_json(paths.metrics, "evaluate") == pipeline.report
    assert {file.stem for file in (paths.figures / "evaluate").iterdir()} == PLOTS
    assert log.figures["test/all_sources/auroc"] == pipeline.report["splits"]["test"]["all_sources"]["auroc"]
    assert log.figures["robustness/dev/jpeg50/auroc"] == pipeline.report["robustness"]["dev"]["jpeg50"]["auroc"]
    assert log.artifacts == [paths.metrics, paths.tables, paths.figures / "evaluate", paths.evaluation_page]
    assert capsys.readouterr().out.splitlines()[-1].startswith("no baseline at ")


def test_a_regression_stops_the_command_after_all_is_written_and_logged(
    command: Command, pipeline: Pipeline, tmp_path: Path
) -> None:
    baseline = tmp_path / "pipeline" / "reports" / "baseline.json"
    better = json.loads(json.dumps(pipeline.report))
    better["robustness"]["dev"]["worst"]["auroc"] = 1.5
    write_json(baseline, better)
    with pytest.raises(
        SystemExit, match=r"^evaluate: worse than .* AUROC of the worst robustness tier on dev was 1\.5"
    ):
        command(evaluate)
    reports = Paths(reports=baseline.parent)
    assert read_json(reports.metrics, "evaluate") == pipeline.report
