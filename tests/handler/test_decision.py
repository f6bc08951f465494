import dataclasses
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.spec import ModelSpec, Verdict, confidence, decide

SPEC = ModelSpec(version="1")


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        (0.0, "high"),
        (0.1999, "high"),
        (0.2, "medium"),
        (0.2001, "medium"),
        (0.2999, "medium"),
        (0.3, "medium"),
        (0.3001, "low"),
        (0.5, "low"),
        (0.6999, "low"),
        (0.7, "medium"),
        (0.7001, "medium"),
        (0.7999, "medium"),
        (0.8, "medium"),
        (0.8001, "high"),
        (1.0, "high"),
    ],
)
def test_confidence_follows_the_documented_table(probability: float, expected: str) -> None:
    assert confidence(probability) == expected
    if 0 < probability < 1:
        assert decide(logit(probability), SPEC).confidence == expected


@pytest.mark.parametrize(("value", "label"), [(1, "ai_generated"), (-1, "real")])
@pytest.mark.parametrize("size", [1e3, 1e6, sys.float_info.max, math.inf])
def test_extreme_logits_do_not_overflow(value: int, label: str, size: float) -> None:
    assert decide(value * size, SPEC) == Verdict(label, float(value > 0), "high")


def test_one_half_itself_is_positive() -> None:
    assert decide(0.0, SPEC) == Verdict("ai_generated", 0.5, "low")


def test_the_label_follows_from_the_rounded_probability() -> None:
    assert decide(logit(0.49996), SPEC) == Verdict("ai_generated", 0.5, "low")
    assert decide(logit(0.49994), SPEC) == Verdict("real", 0.4999, "low")


def test_confidence_follows_from_the_rounded_probability() -> None:
    assert decide(logit(0.80004), SPEC) == Verdict("ai_generated", 0.8, "medium")
    assert decide(logit(0.19996), SPEC) == Verdict("real", 0.2, "medium")


@pytest.mark.parametrize("base_rate", [0.01, 0.1876, 0.5, 0.8])
@pytest.mark.parametrize("balanced", [0.02, 0.5, 0.8074, 0.999])
def test_the_base_rate_is_the_prior_of_the_posterior(base_rate: float, balanced: float) -> None:
    """Bayes: the likelihood ratio is the odds for equal shares."""
    generated, real = balanced * base_rate, (1 - balanced) * (1 - base_rate)
    found = decide(logit(balanced), dataclasses.replace(SPEC, base_rate=base_rate)).probability
    assert found == pytest.approx(generated / (generated + real), abs=5.1e-5)


@given(st.floats(-30, 30), st.floats(0.0001, 0.9999), st.floats(0.05, 20), st.floats(-20, 20))
def test_a_real_photo_never_has_a_probability_of_one_half_or_more(
    value: float, base_rate: float, temperature: float, offset: float
) -> None:
    spec = ModelSpec(version="1", base_rate=base_rate, temperature=temperature, offset=offset)
    verdict = decide(value, spec)
    assert (verdict.prediction == "ai_generated") == (verdict.probability >= 0.5)
    assert verdict.confidence == confidence(verdict.probability)


@pytest.mark.parametrize("threshold", [0.0001, 0.25, 0.8124, 0.9999])
def test_a_threshold_for_equal_shares_is_one_minus_the_base_rate(threshold: float) -> None:
    spec = dataclasses.replace(SPEC, base_rate=1 - threshold)
    found = [decide(logit(threshold) + step, spec).prediction for step in (-0.001, 0, 0.001)]
    assert found == ["real", "ai_generated", "ai_generated"]


@pytest.mark.parametrize(("temperature", "probability"), [(0.5, 0.982), (1.0, 0.8808), (2.0, 0.7311), (4.0, 0.6225)])
def test_the_temperature_divides_the_logit(temperature: float, probability: float) -> None:
    assert decide(2.0, dataclasses.replace(SPEC, temperature=temperature)).probability == probability


@pytest.mark.parametrize(("offset", "probability"), [(-1.0, 0.8176), (0.0, 0.7311), (2.0, 0.5), (3.0, 0.3775)])
def test_the_offset_is_taken_off_before(offset: float, probability: float) -> None:
    assert decide(2.0, dataclasses.replace(SPEC, offset=offset, temperature=2.0)).probability == probability


@given(st.floats(-30, 30), st.floats(-30, 30))
def test_a_larger_logit_never_has_a_smaller_probability(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert decide(low, SPEC).probability <= decide(high, SPEC).probability


@given(st.floats(allow_nan=False))
def test_any_logit_gives_a_probability_of_four_decimals(value: float) -> None:
    probability = decide(value, SPEC).probability
    assert 0 <= probability <= 1
    assert probability == round(probability, 4)
