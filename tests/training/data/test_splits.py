from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest

from training.data.manifest import LABELS, SHARES, Photo, assign_splits, divide_sources
from training.files import StageError


def photos(sources: int, groups: int, size: int = 1, *, shared: bool = False) -> list[Photo]:
    """So many sources a class with so many groups each; `shared` sources have both classes."""
    return [
        Photo(
            f"{label}/{source}/{group}-{index}.jpg",
            label,
            "",
            f"s{source}" if shared else f"{label}-{source}",
            "none",
            "shoes",
            f"{label}/{source}/{group}",
            "CC0",
        )
        for label in LABELS
        for source in range(sources)
        for group in range(groups)
        for index in range(size)
    ]


def sizes(split: Sequence[Photo]) -> dict[tuple[str, str], int]:
    return dict(Counter((photo.label, photo.split) for photo in split))


def splits_of(split: Sequence[Photo], name: str) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for photo in split:
        found[getattr(photo, name)].add(photo.split)
    return found


def test_groups_are_split_70_15_15_within_few_sources() -> None:
    done = assign_splits(photos(sources=2, groups=100), seed=0)
    assert sizes(done) == {
        (label, split): count for label in LABELS for split, count in (("train", 140), ("dev", 30), ("test", 30))
    }
    assert all(splits == {"train", "dev", "test"} for splits in splits_of(done, "source").values())


@pytest.mark.parametrize("sources", [1, 2, 3, 7, 30])
@pytest.mark.parametrize("shared", [False, True])
def test_a_group_never_crosses_splits(sources: int, shared: bool) -> None:
    done = assign_splits(photos(sources, groups=12, size=3, shared=shared), seed=1)
    assert all(len(splits) == 1 for splits in splits_of(done, "group").values())


@pytest.mark.parametrize("sources", [3, 7, 30])
@pytest.mark.parametrize("shared", [False, True])
def test_three_sources_a_class_suffice_for_whole_sources_to_dev_and_test(sources: int, shared: bool) -> None:
    done = assign_splits(photos(sources, groups=5, shared=shared), seed=0)
    assert all(len(splits) == 1 for splits in splits_of(done, "source").values())
    assert len(sizes(done)) == len(SHARES) * len(LABELS)


def test_whole_sources_come_close_to_the_shares() -> None:
    done = sizes(assign_splits(photos(sources=20, groups=10), seed=0))
    assert [done[LABELS[0], split] for split in SHARES] == [140, 30, 30]
    assert [done[LABELS[1], split] for split in SHARES] == [140, 30, 30]


def test_the_largest_source_stays_in_train() -> None:
    rows = photos(sources=5, groups=10)
    large = [Photo(f"x{i}", "real", "", "large", "none", "shoes", f"x{i}", "CC0") for i in range(500)]
    assert splits_of(assign_splits(rows + large, seed=3), "source")["large"] == {"train"}


def test_sources_that_share_a_group_stay_together() -> None:
    rows = photos(sources=6, groups=4)
    joined = [Photo(f"j{i}", "real", "", f"real-{i}", "none", "shoes", "joint", "CC0") for i in range(3)]
    found = splits_of(assign_splits(rows + joined, seed=0), "source")
    assert found["real-0"] == found["real-1"] == found["real-2"]


def test_the_order_of_the_rows_changes_nothing() -> None:
    for sources in (2, 5):
        rows = photos(sources, groups=9, size=2)
        shuffled = [rows[index] for index in np.random.default_rng(0).permutation(len(rows))]
        assert sorted(assign_splits(shuffled, seed=5), key=str) == sorted(assign_splits(rows, seed=5), key=str)


def test_another_seed_splits_otherwise() -> None:
    for sources in (2, 9):
        rows = photos(sources, groups=9)
        assert assign_splits(rows, seed=1) == assign_splits(rows, seed=1)
        assert assign_splits(rows, seed=1) != assign_splits(rows, seed=2)


def test_rows_keep_their_order_and_all_else() -> None:
    rows = photos(sources=2, groups=9)
    assert [photo.path for photo in assign_splits(rows, seed=0)] == [photo.path for photo in rows]


def test_small_sources_are_handed_out_as_well() -> None:
    done = sizes(assign_splits(photos(sources=50, groups=1, shared=True), seed=0))
    assert [done["real", split] for split in SHARES] == [done["ai_generated", split] for split in SHARES]


def test_too_few_groups_say_which_split_lacks_what() -> None:
    with pytest.raises(StageError) as refused:
        assign_splits(photos(sources=1, groups=2), seed=0)
    assert str(refused.value) == (
        "too few groups of images to split: none left for real in dev, ai_generated in dev, real in test, "
        "ai_generated in test; add images, or a manifest whose column split is train, dev or test in every row"
    )


def test_any_shares_divide_within_sources() -> None:
    done = divide_sources(photos(sources=5, groups=40), {"train": 0.7, "dev": 0.3}, seed=0)
    assert sizes(done) == {(label, split): n for label in LABELS for split, n in (("train", 140), ("dev", 60))}


def test_shares_need_not_add_up_to_one() -> None:
    done = divide_sources(photos(sources=1, groups=85), {"train": 0.7, "dev": 0.15}, seed=0)
    assert sizes(done) == {(label, split): n for label in LABELS for split, n in (("train", 70), ("dev", 15))}
