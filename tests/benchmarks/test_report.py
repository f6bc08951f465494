"""The arithmetic behind the table, on rounds made up for it."""

from __future__ import annotations

import pytest

from benchmarks.report import ECHO, GATEWAY, NULL, Comparison, Round, Spread


def made(p50: float, requests: int = 100, cpu_s: float = 0.1) -> Round:
    return Round([p50 - 0.5, p50, p50 + 0.5], requests, wall_s=0.5, cpu_s=cpu_s)


def compared(gateway: Round, other: Round | None = None) -> Comparison:
    first = {NULL: made(1.0), ECHO: made(2.0), GATEWAY: gateway}
    return Comparison([first, {NULL: made(2.0), ECHO: made(4.0), GATEWAY: other or gateway}])


def test_a_round_tells_percentiles_and_rates_by_the_wall_and_by_the_core() -> None:
    found = Round([float(n) for n in range(1, 102)], requests=100, wall_s=0.5, cpu_s=0.2)
    assert (found.percentile(50), found.percentile(95)) == (51.0, 96.0)
    assert (found.per_s, found.per_cpu_s) == (200.0, 500.0)


def test_time_too_short_for_the_kernels_clock_counts_as_one_tick() -> None:
    assert made(1.0, requests=100, cpu_s=0.0).per_cpu_s == 10_000.0


def test_what_the_gateway_adds_is_taken_within_each_round() -> None:
    found = compared(made(3.0), made(6.0))
    assert found.added_ms(NULL) == Spread(3.0, 2**0.5, 2)
    assert found.added_ms(ECHO) == Spread(1.5, 0.5**0.5, 2)
    assert found.ratio(NULL) == Spread(3.0, 0.0, 2)
    assert found.ratio(ECHO) == Spread(1.5, 0.0, 2)


@pytest.mark.parametrize(
    ("gateway", "met"),
    [
        (made(4.5, requests=1000, cpu_s=1.0), True),
        (made(4.6, requests=1000, cpu_s=1.0), False),
        (made(4.5, requests=999, cpu_s=1.0), False),
    ],
    ids=["3 ms more and 1,000 requests", "slower", "fewer"],
)
def test_the_bar_is_3_ms_over_the_null_back_end_and_1000_requests_a_cpu_second(gateway: Round, met: bool) -> None:
    assert compared(gateway).meets_bar() is met


def test_one_round_has_no_spread() -> None:
    assert Spread.of([2.0]) == Spread(2.0, 0.0, 1)


@pytest.mark.parametrize(
    ("spread", "printed"),
    [(Spread(2.345, 0.1, 3), "2.35 ± 0.10"), (Spread(1234.5, 99.6, 3), "1,234 ± 100")],
)
def test_decimals_are_printed_while_they_matter(spread: Spread, printed: str) -> None:
    assert str(spread) == printed
