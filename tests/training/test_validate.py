import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import Log
from tests.training.marks import NOISE
from tests.training.pictures import encoded, noise, row, save, save_folder, small
from training import tracking, validate
from training.data import manifest
from training.data.manifest import LABELS, Photo
from training.files import Paths, StageError
from training.params import Params

pytestmark = [pytest.mark.slow, *NOISE]


Messy = tuple[Params, Paths, dict[str, Any]]


def sound() -> list[Photo]:
    """Three splits with both classes, each with a source of its own."""
    return [
        row(f"{split}/{label}{index}.png", label, split, f"{label}-{split}")
        for split in ("train", "dev", "test")
        for label in LABELS
        for index in range(3)
    ]


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Messy:
    """A folder with one of each trouble, and what the stage says about it."""
    root = tmp_path_factory.mktemp("messy")
    photos = sound()
    photos += [
        row("broken.png", "real"),
        row("gone.png", "real"),
        row("odd.png", "fake"),
        row("twin.png", "ai_generated", "train"),
        row("leaked.png", "real", "test", "<b>bold</b>"),
        row("crossing.png", "real", "dev", group="train/real2.png"),
    ]
    save_folder(root, photos)
    (root / "gone.png").unlink()
    save(root, "broken.png", encoded(noise(0))[:400])
    for copy, original in (("twin.png", "train/real0.png"), ("leaked.png", "train/real1.png")):
        save(root, copy, (root / original).read_bytes())
    params, paths = small(root), Paths(root / "run", root / "store", root / "reports")
    return params, paths, validate.run(params, paths)


def checks(report: dict[str, Any], severity: str) -> dict[str, int]:
    return {found["check"]: found["count"] for found in report["findings"] if found["severity"] == severity}


def page(paths: Paths) -> str:
    return paths.data_validation.with_suffix(".html").read_text(encoding="utf-8")


def test_every_error_is_found_and_none_ends_the_stage(messy: Messy) -> None:
    assert checks(messy[2], "error") == {
        "unknown_labels": 1,
        "groups_across_splits": 1,
        "missing_pictures": 1,
        "broken_pictures": 1,
        "duplicates_across_classes": 1,
        "duplicates_across_splits": 1,
    }
    assert (messy[2]["errors"], messy[2]["pictures"], messy[2]["usable"]) == (6, 24, 21)
    severities = [found["severity"] for found in messy[2]["findings"]]
    assert severities == sorted(severities, key=("error", "warning", "info").index)


def test_the_report_counts_what_is_usable(messy: Messy) -> None:
    report = messy[2]
    assert report["splits"] == {
        "train": {"real": 3, "ai_generated": 4},
        "dev": {"real": 4, "ai_generated": 3},
        "test": {"real": 4, "ai_generated": 3},
    }
    assert report["formats"] == {"real": {"PNG": 11}, "ai_generated": {"PNG": 10}}
    assert report["sizes"]["real"]["width"] == dict.fromkeys(
        ("least", "quarter", "median", "three_quarters", "most"), 32
    )
    assert report["sizes"]["real"]["shorter_side_histogram"]["0 to 63"] == 11
    names = ("label", "source", "train", "dev", "test", "groups", "generator", "domain", "licence")
    assert report["sources"][0] == dict(
        zip(names, ("real", "<b>bold</b>", 0, 0, 1, 1, "none", "shoes", "CC0"), strict=True)
    )


def test_what_is_returned_is_what_is_written(messy: Messy) -> None:
    _, paths, report = messy
    written = json.loads(paths.data_validation.read_text(encoding="utf-8"))
    assert written["findings"] == json.loads(json.dumps(report["findings"]))
    assert written["leaks"].keys() == {
        "pictures",
        "of",
        *("metadata_of_files", "scale_of_files", "metadata_after_pipeline", "statistics_after_pipeline"),
    }
    assert sorted(file.name for file in paths.reports.iterdir()) == ["data_validation.html", "data_validation.json"]


def test_the_page_shows_pairs_and_names_as_text_and_asks_nobody_for_anything(messy: Messy) -> None:
    html = page(messy[1])
    assert re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,|#)[^"]*"', html) == []
    assert "http" not in re.sub(r"base64,[^\"]*", "", html)
    twins = html[html.index("duplicates_across_classes") : html.index("duplicates_across_splits")]
    assert twins.count("<img") == 2
    assert "train/real0.png" in twins
    assert "twin.png" in twins
    assert "no image" in html[html.index("missing_pictures") :]
    assert "<b>bold</b>" not in html
    assert "&lt;b&gt;bold&lt;/b&gt;" in html


def test_strict_fails_after_the_reports_are_written(messy: Messy, tmp_path: Path) -> None:
    params = dataclasses.replace(messy[0], validate=dataclasses.replace(messy[0].validate, strict=True))
    paths = Paths(tmp_path / "run", tmp_path / "store", tmp_path / "reports")
    with pytest.raises(StageError) as failed:
        validate.run(params, paths)
    assert str(failed.value) == (
        "1 unknown_labels, 1 groups_across_splits, 1 missing_pictures, 1 broken_pictures, "
        f"1 duplicates_across_classes, 1 duplicates_across_splits; see {tmp_path}/reports/data_validation.html"
    )
    assert paths.data_validation.is_file()
    assert "Data checks" in page(paths)


def test_sound_data_pass_strictly(tmp_path: Path) -> None:
    save_folder(tmp_path / "data", sound())
    params = small(tmp_path / "data", "validate.strict=true")
    report = validate.run(params, Paths(reports=tmp_path / "reports"))
    assert report["errors"] == 0
    assert checks(report, "error") == {}


def test_without_pictures_of_train_everything_else_is_checked(tmp_path: Path) -> None:
    save_folder(tmp_path / "data", [photo for photo in sound() if photo.split != "train"])
    report = validate.run(small(tmp_path / "data"), Paths(reports=tmp_path / "reports"))
    assert checks(report, "error") == {"absent_class": 1}
    assert report["leaks"]["pictures"] == 0


def test_an_empty_manifest_gives_a_report(tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path / "data" / "manifest.csv", [])
    report = validate.run(small(tmp_path / "data"), Paths(reports=tmp_path / "reports"))
    assert (report["pictures"], report["errors"]) == (0, 3)


def test_without_a_manifest_there_is_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no manifest at"):
        validate.run(small(tmp_path), Paths(reports=tmp_path / "reports"))
    assert list(tmp_path.iterdir()) == []


def test_the_command_logs_figures_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_folder(tmp_path / "data", sound())
    log, reports = Log(), tmp_path / "reports"
    monkeypatch.setattr(tracking, "tracked", log.tracked)
    words = [f"data.root={tmp_path / 'data'}", "data.num_workers=0", "train.input_size=32", "model.input_size=32"]
    monkeypatch.setattr(sys, "argv", ["validate", "--reports", str(reports), "--strict", "--set", *words])
    validate.main()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("18 images, 0 errors, ")
    assert last.endswith(f"; see {reports}/data_validation.html")
    assert (log.stages, log.figures["data/pictures"]) == (["validate"], 18)
    assert log.artifacts == [reports / "data_validation.json", reports / "data_validation.html"]
