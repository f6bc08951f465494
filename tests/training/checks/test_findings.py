from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.training.pictures import encoded, noise, row, save
from training.checks import findings as checks
from training.checks.findings import Facts, Finding, inspect, inspect_all, leak_findings
from training.checks.leaks import Auc, Leak, LeakReport
from training.data.manifest import LABELS, Photo
from training.params import ValidateParams

LIMITS = ValidateParams(strict=False, near_duplicate_bits=4, max_metadata_auc=0.55, max_statistics_auc=0.6)


def brief(findings: Iterable[Finding]) -> list[tuple[str, str, int]]:
    return [(finding.check, finding.severity, finding.count) for finding in findings]


def balanced() -> list[Photo]:
    return [
        row(f"{split}-{label}", label, split, f"{split}-{label}")
        for split in ("train", "dev", "test")
        for label in LABELS
    ]


def test_sound_rows_have_no_findings() -> None:
    assert brief(checks.row_findings(balanced())) == []
    assert brief(checks.balance_findings(balanced())) == []


def test_an_unknown_label_or_split_is_an_error() -> None:
    rows = [row("a", "fake"), row("b", "real", "validation"), row("c", "", ""), row("d", "real")]
    (finding,) = checks.row_findings(rows)
    assert brief([finding]) == [("unknown_labels", "error", 3)]
    assert finding.examples == [("a",), ("b",), ("c",)]
    assert [checks.is_known(photo) for photo in rows] == [False, False, False, True]


def test_a_picture_with_two_labels_is_an_error_and_one_listed_twice_a_warning() -> None:
    rows = [row("a", "real", group="g"), row("a", "ai_generated", group="g"), row("b", "real"), row("b", "real")]
    assert brief(checks.row_findings(rows)) == [("disputed_pictures", "error", 1), ("listed_twice", "warning", 1)]


def test_a_group_in_two_splits_is_an_error_shown_by_two_pictures() -> None:
    rows = [
        row("a", "real", "train", group="g"),
        row("b", "real", "dev", group="g"),
        row("c", "real", "train", group="g"),
    ]
    (finding,) = checks.row_findings(rows)
    assert brief([finding]) == [("groups_across_splits", "error", 1)]
    assert finding.examples == [("a", "b")]


def test_missing_and_broken_pictures_are_told_apart() -> None:
    photos = [row(name, "real") for name in "abcd"]
    facts = ["missing", "corrupt_image", "corrupt_image", "bad_dimensions"]
    missing, broken = checks.integrity_findings(photos, facts)
    assert brief([missing, broken]) == [("missing_pictures", "error", 1), ("broken_pictures", "error", 3)]
    assert broken.message == "images cannot be used (corrupt_image 2, bad_dimensions 1)"


def test_a_split_without_a_class_is_an_error() -> None:
    (finding,) = checks.balance_findings([photo for photo in balanced() if photo.path != "dev-real"])
    assert brief([finding]) == [("absent_class", "error", 1)]
    assert finding.message == "split dev lacks a class: 0 real and 1 ai_generated"


def test_less_than_a_quarter_of_a_class_is_a_warning() -> None:
    three = [row(f"x{index}", "real", "train", "train-real") for index in range(2)]
    assert brief(checks.balance_findings([*balanced(), *three])) == []
    four = [*three, row("y", "real", "train", "train-real")]
    (finding,) = checks.balance_findings([*balanced(), *four])
    assert (finding.check, finding.severity) == ("unbalanced_classes", "warning")
    assert finding.message == "split train is unbalanced: 4 real and 1 ai_generated"


def test_sources_that_are_evaluated_and_trained_on_are_named() -> None:
    shared = [row("x", "real", "test", "train-real"), row("y", "ai_generated", "test", "dev-ai_generated")]
    trained, tuned = checks.balance_findings([*balanced(), *shared])
    assert brief([trained, tuned]) == [("shared_sources", "warning", 1), ("tuned_sources", "info", 1)]
    assert trained.message.endswith("(real/train-real)")
    assert tuned.message.endswith("(ai_generated/dev-ai_generated)")


def test_small_pictures_and_mixed_formats_are_information() -> None:
    photos = [row("a", "real"), row("b", "ai_generated"), row("c", "ai_generated")]
    facts = [Facts(300, 200, "JPEG", "", 0), Facts(300, 300, "JPEG", "", 0), Facts(300, 300, "WEBP", "", 0)]
    small, mixed = checks.picture_findings(photos, facts, 224)
    assert brief([small, mixed]) == [("small_pictures", "info", 1), ("mixed_formats", "info", 2)]
    assert mixed.message == "file formats differ (real: JPEG 1; ai_generated: JPEG 1, WEBP 1)"
    assert brief(checks.picture_findings(photos[:1], facts[:1], 200)) == []


def auc(value: float) -> Auc:
    return Auc(value, abs(value - 0.5), (value, value), 9)


def report(metadata: Leak, statistics: Leak, of_files: Leak | None = None, of_scale: Leak | None = None) -> LeakReport:
    fine = Leak(auc(0.5), auc(0.5))
    return LeakReport(10, 10, of_files or fine, of_scale or fine, metadata, statistics)


def test_figures_on_unseen_sources_above_the_limit_are_errors() -> None:
    metadata, statistics = leak_findings(report(Leak(auc(0.56), None), Leak(auc(0.61), None)), LIMITS)
    assert brief([metadata, statistics]) == [("metadata_leak", "error", 1), ("statistics_leak", "error", 1)]
    assert statistics.message == (
        "after the training pipeline pixel statistics tell the label on unseen sources: AUC 0.610, at most 0.6 allowed"
    )


def test_leaks_of_the_files_are_information() -> None:
    fine = Leak(auc(0.5), auc(0.5))
    assert brief(leak_findings(report(fine, fine, Leak(auc(0.9), None)), LIMITS)) == [("metadata_of_files", "info", 1)]
    assert brief(leak_findings(report(fine, fine, None, Leak(auc(0.9), None)), LIMITS)) == [
        ("scale_of_files", "info", 1)
    ]


def test_a_leak_on_seen_sources_alone_is_a_warning_where_nothing_else_can_be_measured() -> None:
    found = leak_findings(report(Leak(None, auc(0.5)), Leak(None, auc(0.9))), LIMITS)
    assert brief(found) == [
        ("metadata_leak_unmeasured", "warning", 1),
        ("statistics_leak", "warning", 1),
        ("statistics_leak_unmeasured", "warning", 1),
    ]


def test_too_few_pictures_to_measure_are_told() -> None:
    nothing = Leak(None, None)
    found = leak_findings(report(nothing, nothing, nothing), LIMITS)
    assert all(finding.severity != "error" for finding in found)
    assert {finding.check for finding in leak_findings(report(nothing, nothing), LIMITS)} == {
        "metadata_leak_unmeasured",
        "statistics_leak_unmeasured",
    }


def test_a_picture_is_described_upright_with_its_container(tmp_path: Path) -> None:
    save(tmp_path, "a.png", encoded(noise(0)[:20]))
    facts = inspect(tmp_path / "a.png")
    assert isinstance(facts, Facts)
    assert (facts.width, facts.height, facts.format) == (32, 20, "PNG")


def test_equal_pixels_have_one_digest_whatever_the_format(tmp_path: Path) -> None:
    save(tmp_path, "a.png", encoded(noise(0)))
    save(tmp_path, "a.webp", encoded(noise(0), "WEBP", lossless=1))
    save(tmp_path, "b.png", encoded(noise(1)))
    png, webp, other = (inspect(tmp_path / name) for name in ("a.png", "a.webp", "b.png"))
    assert isinstance(png, Facts)
    assert isinstance(webp, Facts)
    assert isinstance(other, Facts)
    assert png.digest == webp.digest != other.digest
    assert png.look == webp.look != other.look


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "missing"),
        (b"", "unsupported_format"),
        (encoded(noise(0))[:300], "corrupt_image"),
        (encoded(noise(0, side=4)), "bad_dimensions"),
    ],
)
def test_a_broken_picture_says_why(content: bytes | None, code: str, tmp_path: Path) -> None:
    if content is not None:
        save(tmp_path, "a.png", content)
    assert inspect(tmp_path / "a.png") == code


@pytest.mark.parametrize("threads", [0, 3])
def test_facts_come_in_the_order_of_the_photos(threads: int, tmp_path: Path) -> None:
    photos = [row(f"{side}.png", "real") for side in range(10, 30)]
    for photo in photos:
        side = int(Path(photo.path).stem)
        save(tmp_path, photo.path, encoded(noise(side, side=side)))
    facts = inspect_all(tmp_path, photos, threads)
    assert [fact.width for fact in facts if isinstance(fact, Facts)] == list(range(10, 30))
