from __future__ import annotations

import pytest
import torch

from training.data import Photo
from training.figures import auroc, balanced_accuracy, by_source, interval, label_tensor, overall


def photo(label: str, source: str = "a", group: str = "g") -> Photo:
    return Photo("a.png", label, "test", source, "none", "shoes", group, "CC0")


REAL, AI = "real", "ai_generated"
FOUR = [photo(REAL, group="1"), photo(REAL, group="2"), photo(AI, group="3"), photo(AI, group="4")]
PROBABILITIES = torch.tensor([0.1, 0.4, 0.35, 0.8])


def many(groups: int, size: int) -> tuple[list[Photo], torch.Tensor]:
    """Photos of overlapping classes; those of a group are equal."""
    generator = torch.Generator().manual_seed(1)
    photos = [
        photo(label, group=f"{label}{group}") for label in (REAL, AI) for group in range(groups) for _ in range(size)
    ]
    logits = torch.randn(2, groups, generator=generator) + torch.tensor([[-0.6], [0.6]])
    return photos, logits.repeat_interleave(size, dim=1).flatten().sigmoid()


def test_labels_are_one_for_generated_pictures() -> None:
    assert label_tensor(FOUR).tolist() == [0, 0, 1, 1]


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    assert float(auroc(PROBABILITIES, label_tensor(FOUR), 0.5)) == 0.75


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, 0.75), (0.35, 0.75), (0.3, 0.75), (0.9, 0.5), (0.05, 0.5)])
def test_balanced_accuracy_is_the_mean_of_both_rates(threshold: float, expected: float) -> None:
    assert float(balanced_accuracy(PROBABILITIES, label_tensor(FOUR), threshold)) == expected


def test_the_overall_figures_of_four_photos() -> None:
    found = overall(FOUR, PROBABILITIES, 0.5, bootstrap_samples=50)
    assert {name: value for name, value in found.items() if not name.endswith("ci95")} == {
        "n_real": 2,
        "n_ai_generated": 2,
        "auroc": 0.75,
        "average_precision": pytest.approx(0.5 * 1 + 0.5 * 2 / 3),
        "balanced_accuracy": 0.75,
        "true_positive_rate": 0.5,
        "false_positive_rate": 0.0,
        "expected_calibration_error": pytest.approx((0.1 + 0.4 + 0.65 + 0.2) / 4),
    }


def test_a_probability_at_the_threshold_is_flagged() -> None:
    found = overall(FOUR, torch.tensor([0.1, 0.5, 0.5, 0.8]), 0.5, bootstrap_samples=1)
    assert (found["true_positive_rate"], found["false_positive_rate"]) == (1.0, 0.5)


def test_an_interval_covers_the_figure_and_narrows_with_more_groups() -> None:
    widths = []
    for groups in (10, 200):
        photos, probabilities = many(groups, 1)
        low, high = interval(auroc, photos, probabilities, 0.5, 200)
        assert low < float(auroc(probabilities, label_tensor(photos), 0.5)) < high
        widths.append(high - low)
    assert widths[1] < 0.5 * widths[0]


def test_an_interval_is_the_same_each_time() -> None:
    photos, probabilities = many(10, 2)
    assert interval(auroc, photos, probabilities, 0.5, 50) == interval(auroc, photos, probabilities, 0.5, 50)


def test_copies_within_a_group_do_not_narrow_an_interval() -> None:
    alone = interval(auroc, *many(20, 1), 0.5, 100)
    copied = interval(auroc, *many(20, 5), 0.5, 100)
    assert copied == pytest.approx(alone, abs=1e-6)


def test_one_group_a_class_leaves_nothing_to_resample() -> None:
    photos = [photo(REAL, group="1")] * 2 + [photo(AI, group="2")] * 2
    assert interval(auroc, photos, PROBABILITIES, 0.5, 20) == [0.75, 0.75]


def test_each_source_is_held_against_the_whole_other_class() -> None:
    photos = [photo(REAL, "shop"), photo(REAL, "phone"), photo(AI, "sd"), photo(AI, "shop")]
    assert by_source(photos, PROBABILITIES, 0.4) == {
        "ai_generated/sd": {"n": 1, "auroc": 0.5, "flagged": 0.0},
        "ai_generated/shop": {"n": 1, "auroc": 1.0, "flagged": 1.0},
        "real/phone": {"n": 1, "auroc": 0.5, "flagged": 1.0},
        "real/shop": {"n": 1, "auroc": 1.0, "flagged": 0.0},
    }
