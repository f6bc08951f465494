from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gateway.drift import reference

EVEN = {share / 10: share * 10.0 for share in range(1, 10)}


def test_ks_is_the_two_sample_distance_at_the_quantiles() -> None:
    values = np.arange(100.0)
    assert reference.ks(values, EVEN) == 0  # 10 of 100 are below 10, and 11 at or below it
    assert reference.ks(values + 20, EVEN) == pytest.approx(0.19)
    assert reference.ks(values - 20, EVEN) == pytest.approx(0.2)
    assert reference.ks(values + 1000, EVEN) == 0.9


def test_ks_takes_no_offence_at_values_that_repeat() -> None:
    most = {0.1: 321.0, 0.2: 512.0, 0.3: 896.0, 0.5: 896.0, 0.9: 896.0}
    values = np.repeat([321.0, 512.0, 896.0], [15, 10, 75])
    assert reference.ks(values, most) == 0
    assert reference.ks(np.repeat([321.0, 896.0], [60, 40]), most) == pytest.approx(0.4)
    assert reference.ks(np.full(50, 897.0), most) == pytest.approx(0.9)


def test_psi_of_the_reference_itself_is_nearly_nothing() -> None:
    found = reference.bins(EVEN)
    assert found is not None
    edges, shares = found
    assert edges.tolist() == [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0]
    assert shares == pytest.approx([0.1] * 10)
    assert reference.psi(np.arange(0.5, 100), edges, shares) == pytest.approx(0)


def test_psi_is_the_sum_over_bins() -> None:
    edges, shares = np.array([1.0]), np.array([0.5, 0.5])
    values = np.repeat([0.0, 2.0], [29, 9])  # 29.5 of 39 and 9.5 of 39 with the half value in each
    expected = (29.5 / 39 - 0.5) * math.log(29.5 / 39 / 0.5) + (9.5 / 39 - 0.5) * math.log(9.5 / 39 / 0.5)
    assert reference.psi(values, edges, shares) == pytest.approx(expected)


def test_deciles_that_are_equal_are_no_edges() -> None:
    quantiles = {0.1: 1.0, 0.2: 2.0, 0.3: 2.0, 0.4: 3.0, 0.5: 4.0, 0.05: 0.0}
    found = reference.bins(quantiles)
    assert found is not None
    assert found[0].tolist() == [1.0, 3.0, 4.0]
    assert found[1] == pytest.approx([0.1, 0.3, 0.1, 0.5])


def test_too_few_deciles_give_no_bins() -> None:
    assert reference.bins({share / 10: 7.0 for share in range(1, 10)}) is None


def test_limits_are_those_of_the_textbook() -> None:
    assert reference.ks_limit(0.01, np.empty(1000), 500) == pytest.approx(math.sqrt(math.log(200) / 2 * 0.003) + 0.004)
    chi_square = stats.chi2.isf(0.001, 9)
    assert reference.psi_limit(0.001, np.empty(1000), 500, 10) == pytest.approx(chi_square * 0.003, rel=0.01)
    values = np.array([0.0, 1.0] * 50)
    assert reference.mean_limit(0.05, values, 0.5, 400) == pytest.approx(1.96 * math.sqrt(0.25 / 80), rel=0.001)


@pytest.mark.parametrize("share", [0.003, 0.02, 0.17, 0.5, 0.9])
@pytest.mark.parametrize(("size", "reference_size"), [(200, 311), (1000, 311), (1000, 3000)])
def test_shares_go_over_their_limit_no_more_often_than_stated(share: float, size: int, reference_size: int) -> None:
    """Exact, over both binomials, at the level of one check of fifteen."""
    alpha = 0.01 / 15
    found = np.flatnonzero(stats.binom.pmf(np.arange(size + 1), size, share) > 1e-12)
    theirs = np.flatnonzero(stats.binom.pmf(np.arange(reference_size + 1), reference_size, share) > 1e-12)
    over = 0.0
    for count in theirs:
        pooled = (found + count + 1) / (size + reference_size + 2)
        noise = 1 / size + 1 / reference_size
        limits = stats.norm.isf(alpha / 2) * np.sqrt(pooled * (1 - pooled) * noise) + noise / 2
        beyond = np.abs(found / size - count / reference_size) > limits
        weight = stats.binom.pmf(count, reference_size, share)
        over += weight * stats.binom.pmf(found[beyond], size, share).sum()
    assert over <= 1.5 * alpha
    most = (np.arange(size) < found[-1]).astype(float)
    example = reference.share_limit(alpha, most, theirs[-1] / reference_size, reference_size)
    assert example == pytest.approx(limits[-1])


def test_a_single_value_has_no_limit_for_its_deviation() -> None:
    assert reference.std_limit(0.01, np.full(10, 0.5), 0.0, 10) == 0.0
