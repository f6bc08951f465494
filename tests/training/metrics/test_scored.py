from __future__ import annotations

import math

import pytest
import torch

from handler.spec import ModelSpec
from tests.training.photos import AI, REAL, photo, scored
from training.metrics.scored import score

SPEC = ModelSpec(version="1.0.0", temperature=2.0, threshold=0.6)


def test_scores_are_calibrated_and_verdicts_are_servings() -> None:
    judged = score([photo(REAL), photo(AI)], torch.tensor([-2.0, 2.0]), SPEC)
    assert judged.probabilities.tolist() == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])
    assert judged.flagged.tolist() == [False, True]
    assert judged.generated.tolist() == [False, True]


def test_a_verdict_follows_from_the_rounded_probability_that_is_served() -> None:
    """0.59996 is served as 0.6, which is at the threshold."""
    logit = 2 * math.log(0.59996 / 0.40004)
    assert score([photo(REAL)], torch.tensor([logit]), SPEC).flagged.tolist() == [True]


def test_photos_are_chosen_with_their_scores() -> None:
    judged = scored([photo(REAL, "a"), photo(AI, "b"), photo(AI, "a")], [0.1, 0.2, 0.9])
    chosen = judged.that(lambda one: one.source == "a")
    assert ([one.label for one in chosen.photos], chosen.probabilities.tolist()) == ([REAL, AI], [0.1, 0.9])
    assert chosen.flagged.tolist() == [False, True]


@pytest.mark.parametrize(("labels", "both"), [((REAL, AI), True), ((AI, AI), False), ((), False)])
def test_it_takes_both_classes_to_tell_them_apart(labels: tuple[str, ...], both: bool) -> None:
    assert scored([photo(label) for label in labels], [0.5] * len(labels)).has_both_classes is both
