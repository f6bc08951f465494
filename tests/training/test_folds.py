from __future__ import annotations

from collections import Counter

import pytest

from tests.training.photos import AI, REAL, photo
from training.crossvalidate import assign
from training.data.manifest import InvalidDataError, Photo


def photos(real: dict[str, int], generated: dict[str, int]) -> list[Photo]:
    return [
        photo(label, source)
        for label, sources in ((REAL, real), (AI, generated))
        for source, size in sources.items()
        for _ in range(size)
    ]


TEN = photos({f"r{n}": 10 + n for n in range(4)}, {f"a{n}": 5 * n + 1 for n in range(10)})


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_every_source_is_left_out_once_and_every_fold_has_both_classes(folds: int) -> None:
    found = assign(TEN, folds, seed=0)
    assert len(found) == folds
    assert Counter(source for fold in found for source in fold) == dict.fromkeys({one.source for one in TEN}, 1)
    for fold in found:
        assert {one.label for one in TEN if one.source in fold} == {REAL, AI}


def test_folds_are_of_about_equal_size() -> None:
    sizes = [sum(one.source in fold for one in TEN) for fold in assign(TEN, 4, seed=0)]
    assert max(sizes) < 1.3 * min(sizes)


def test_the_same_seed_gives_the_same_folds() -> None:
    equal = photos(dict.fromkeys("abcdef", 5), dict.fromkeys("uvwxyz", 5))
    assert assign(equal, 3, seed=1) == assign(equal, 3, seed=1)
    assert {tuple(map(frozenset, assign(equal, 3, seed))) for seed in range(5)} != {tuple(assign(equal, 3, seed=1))}


def test_more_folds_than_real_sources_pair_each_ai_source_with_one_of_them() -> None:
    found = assign(TEN, 99, seed=0)
    assert len(found) == 10
    for fold in found:
        assert len([source for source in fold if source.startswith("a")]) == 1
        assert len([source for source in fold if source.startswith("r")]) == 1
    times = Counter(source for fold in found for source in fold if source.startswith("r"))
    assert set(times.values()) <= {2, 3, 4}


def test_a_source_with_both_classes_is_left_out_whole() -> None:
    mixed = photos({"shop": 10, "b": 10, "c": 10}, {"shop": 10, "x": 10, "y": 10})
    found = assign(mixed, 3, seed=0)
    assert sum("shop" in fold for fold in found) == 1
    for fold in found:
        assert {one.label for one in mixed if one.source in fold} == {REAL, AI}


def test_a_class_of_one_source_cannot_be_left_out() -> None:
    with pytest.raises(InvalidDataError, match=r"two sources per class; real has 1: set crossvalidate\.folds"):
        assign(photos({"a": 5}, {"x": 5, "y": 5}), 2, seed=0)
