from collections.abc import Iterable
from pathlib import Path

import numpy as np
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


def fact(digest: str = "d", look: int = 0) -> Facts:
    return Facts(32, 32, "PNG", digest, look)


def test_all_pairs_within_the_distance_are_found_once_across_blocks() -> None:
    random = np.random.default_rng(0)
    looks = [int(value) for value in random.integers(0, 2**63, 2 * checks.BLOCK + 10)]
    looks[checks.BLOCK + 3] = looks[5] ^ 0b111
    looks[2 * checks.BLOCK + 1] = looks[5] ^ 0b1_0000
    expected = {
        (one, other): (looks[one] ^ looks[other]).bit_count()
        for one in range(len(looks))
        for other in range(one + 1, len(looks))
        if (looks[one] ^ looks[other]).bit_count() <= 8
    }
    found = {
        (one, other): distance
        for pairs, distances in checks.near_pairs(looks, 8)
        for (one, other), distance in zip(pairs.tolist(), distances.tolist(), strict=True)
    }
    assert found == expected
    assert found[5, checks.BLOCK + 3] == 3
    assert found[5, 2 * checks.BLOCK + 1] == 1
    assert found[checks.BLOCK + 3, 2 * checks.BLOCK + 1] == 4


def test_hashes_use_all_64_bits() -> None:
    looks = [0, 2**63, 2**64 - 1]
    assert [pairs.tolist() for pairs, _ in checks.near_pairs(looks, 1)] == [[[0, 1]]]


def with_examples(findings: Iterable[Finding]) -> list[tuple[str, str, int, list[tuple[str, ...]]]]:
    return [(finding.check, finding.severity, finding.count, finding.examples) for finding in findings]


def near(*photos: Photo, looks: tuple[int, ...], bits: int = 4) -> list[tuple[str, str, int, list[tuple[str, ...]]]]:
    return with_examples(
        checks.near_findings(photos, [fact(str(index), look) for index, look in enumerate(looks)], bits)
    )


@pytest.mark.parametrize(
    ("photos", "exact", "alike"),
    [
        ((row("a", "real"), row("b", "ai_generated", "dev")), "duplicates_across_classes error", "across_splits error"),
        ((row("a", "real"), row("b", "real", "test")), "duplicates_across_splits error", "across_splits error"),
        ((row("a", "real"), row("b", "ai_generated")), "duplicates_across_classes error", "across_classes warning"),
        ((row("a", "real"), row("b", "real")), "duplicates warning", "info"),
        ((row("a", "real", group="g"), row("b", "real", "test", group="g")), "duplicates_across_splits error", None),
        ((row("a", "real"), row("a", "real")), None, None),  # two rows of one image
    ],
)
def test_equal_and_alike_images_are_told_by_where_they_are(
    photos: tuple[Photo, Photo], exact: str | None, alike: str | None
) -> None:
    pair = [tuple(photo.path for photo in photos)]
    equal = with_examples(checks.exact_findings(photos, [fact(), fact()]))
    assert equal == ([(*exact.split(), 1, pair)] if exact else [])
    found = near(*photos, looks=(0, 0b1111))
    name = f"near_duplicates_{alike}".replace("_info", " info").split() if alike else []
    assert found == ([(*name, 1, pair)] if name else [])


def test_each_equal_image_is_paired_with_the_first_of_its_set() -> None:
    photos = [row(path, "real") for path in "abcdef"]
    found = with_examples(checks.exact_findings(photos, [fact(digest) for digest in "xyxzyx"]))
    assert found == [("duplicates", "warning", 3, [("a", "c"), ("a", "f"), ("b", "e")])]


def test_images_further_apart_than_the_limit_or_equal_do_not_look_alike() -> None:
    photos = (row("a", "real"), row("b", "real"))
    assert near(*photos, looks=(0, 0b11111)) == []
    assert near(*photos, looks=(0, 0b11111), bits=5) != []
    assert list(checks.near_findings(photos, [fact(), fact()], 4)) == []


def test_the_examples_are_the_nearest_twelve() -> None:
    photos = [row(f"{index:02}", "real") for index in range(16)]
    looks = [(1 << (4 * index)) - 1 if index else 0 for index in range(16)]
    looks[15] = looks[14] ^ 1
    ((_, _, count, examples),) = near(*photos, looks=tuple(looks), bits=4)
    assert count == 15
    assert len(examples) == 12
    assert examples[0] == ("14", "15")
