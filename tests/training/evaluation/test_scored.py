from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.spec import ModelSpec, decide
from tests.training.photos import AI, REAL, photo
from training.evaluation.figures import score

SPEC = ModelSpec(version="1.0.0", temperature=2.0)


def test_scores_are_calibrated_and_verdicts_are_servings() -> None:
    predicted = score([photo(REAL), photo(AI)], torch.tensor([-2.0, 2.0]), SPEC)
    assert predicted.probabilities.tolist() == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])
    assert predicted.flagged.tolist() == [False, True]
    assert predicted.generated.tolist() == [False, True]


def test_a_verdict_follows_from_the_rounded_probability_that_is_served() -> None:
    """0.49996 is served as 0.5."""
    logits = torch.tensor([2 * math.log(p / (1 - p)) for p in (0.49996, 0.49994)])
    assert score([photo(REAL)] * 2, logits, SPEC).flagged.tolist() == [True, False]


@settings(deadline=None)
@given(st.floats(-40, 40), st.floats(0.0001, 0.9999))
def test_photos_are_scored_and_flagged_as_serving_does(logit: float, base_rate: float) -> None:
    spec = dataclasses.replace(SPEC, base_rate=base_rate)
    verdict = decide(logit, spec)
    predicted = score([photo(REAL)], torch.tensor([logit], dtype=torch.float64), spec)
    assert predicted.probabilities[0] == pytest.approx(verdict.probability, abs=5.1e-5)
    assert predicted.flagged.tolist() == [verdict.prediction == "ai_generated"]


def test_balanced_probabilities_are_those_without_the_base_rate() -> None:
    logits = torch.tensor([-3.0, 0.2, 5.0])
    rare = score([photo(REAL)] * 3, logits, dataclasses.replace(SPEC, base_rate=0.1))
    assert rare.balanced == pytest.approx(score([photo(REAL)] * 3, logits, SPEC).probabilities)
    assert rare.that(lambda _: True).balanced == pytest.approx(rare.balanced)
