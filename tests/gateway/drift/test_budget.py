from __future__ import annotations

from gateway.drift.budget import CpuBudget


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_share_saved_up_over_a_second_may_be_spent_at_once() -> None:
    budget = CpuBudget(0.5, Clock())
    budget.spend(0.25)
    assert budget.allows()
    budget.spend(0.25)
    assert not budget.allows()


def test_what_was_overdrawn_must_be_earned_first() -> None:
    clock = Clock()
    budget = CpuBudget(0.5, clock)
    budget.spend(1.0)
    clock.now += 1.0
    assert not budget.allows()  # half a second was earned, and all of it was owed
    clock.now += 0.5
    assert budget.allows()


def test_nothing_is_saved_beyond_a_second() -> None:
    clock = Clock()
    budget = CpuBudget(0.5, clock)
    clock.now += 3600.0
    assert budget.allows()
    budget.spend(0.5)
    assert not budget.allows()


def test_a_share_of_nothing_allows_nothing() -> None:
    clock = Clock()
    budget = CpuBudget(0.0, clock)
    clock.now += 3600.0
    assert not budget.allows()
