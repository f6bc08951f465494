from __future__ import annotations

import zipfile
from pathlib import Path

import yaml

from benchmarks.report import Spread
from benchmarks.tune import Setting, Tried, best, settings, table
from stack.archives import with_config
from stack.layout import ROOT
from stack.torchserve import ARCHIVE


def tried(setting: Setting, per_s: float, p50_ms: float) -> Tried:
    return Tried(setting, Spread(per_s, 1, 3), Spread(p50_ms, 1, 3), 1000)


FAST, PROMPT, SLOW = Setting(2, 1, 8), Setting(1, 2, 4), Setting(1, 1, 1)


def test_a_single_cpu_is_given_to_one_worker_or_shared_by_two() -> None:
    assert settings(1, 0) == [Setting(workers, 1, batch) for workers in (1, 2) for batch in (1, 4, 8)]


def test_workers_share_the_cpus_out_or_have_all_of_them() -> None:
    pairs = {(setting.workers, setting.threads) for setting in settings(4, 0)}
    assert pairs == {(1, 4), (2, 2), (2, 4), (4, 1), (4, 4)}


def test_no_more_than_eight_workers_are_tried_on_any_machine() -> None:
    assert max(setting.workers for setting in settings(64, 0)) == 8


def test_a_gpu_is_given_larger_batches() -> None:
    assert {(setting.workers, setting.batch) for setting in settings(16, 1)} == {
        (workers, batch) for workers in (1, 2) for batch in (8, 16, 32)
    }


def test_of_settings_that_are_nearly_as_fast_the_one_that_answers_soonest_is_chosen() -> None:
    found = [tried(FAST, 100, 40), tried(PROMPT, 98, 20), tried(SLOW, 90, 10)]
    assert best(found).setting == PROMPT


def test_a_setting_that_is_clearly_faster_is_chosen() -> None:
    assert best([tried(FAST, 100, 40), tried(PROMPT, 96, 20)]).setting == FAST


def test_the_table_marks_the_chosen_setting() -> None:
    found = [tried(FAST, 100, 40), tried(PROMPT, 98, 20)]
    grid = table(found, found[1])
    assert list(grid.columns[-1].cells) == ["", "chosen"]
    assert [list(column.cells)[1] for column in grid.columns[:4]] == ["1", "2", "4", "1"]


def test_an_archive_with_other_settings_is_otherwise_the_same(tmp_path: Path) -> None:
    shipped = ROOT / "model_store" / ARCHIVE
    with_config(shipped, tmp_path / ARCHIVE, PROMPT.as_config())
    with zipfile.ZipFile(shipped) as old, zipfile.ZipFile(tmp_path / ARCHIVE) as new:
        assert new.namelist() == old.namelist()
        changed = [name for name in old.namelist() if old.read(name) != new.read(name)]
        before, after = (yaml.safe_load(packed.read("model-config.yaml")) for packed in (old, new))
    assert changed == ["model-config.yaml"]
    assert after == before | {
        "minWorkers": 1,
        "maxWorkers": 1,
        "threads": 2,
        "batchSize": 4,
        "maxBatchDelay": 1,
    }
