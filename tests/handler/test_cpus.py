from __future__ import annotations

import os
from pathlib import Path

import pytest

from handler.engines import cpus


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))
    return tmp_path / "cpu.max"


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("6400000 100000", 8),
        ("max 100000", 8),
        ("", 8),
    ],
)
def test_a_containers_share_counts_where_it_is_smaller(cgroup: Path, share: str, expected: int) -> None:
    cgroup.write_text(share)
    assert cpus(cgroup) == expected


def test_without_a_container_all_cpus_that_may_be_used_count(cgroup: Path) -> None:
    assert cpus(cgroup) == 8


def test_a_system_without_affinity_counts_its_cpus(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert cpus(cgroup) == 4
