from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from tests.training.pictures import row
from training.checks.findings import BLOCK, Facts, Finding, exact_findings, near_findings, near_pairs
from training.data.manifest import Photo


def fact(digest: str = "d", look: int = 0) -> Facts:
    return Facts(32, 32, "PNG", digest, look)


def test_all_pairs_within_the_distance_are_found_once_across_blocks() -> None:
    random = np.random.default_rng(0)
    looks = [int(value) for value in random.integers(0, 2**63, 2 * BLOCK + 10)]
    looks[BLOCK + 3] = looks[5] ^ 0b111
    looks[2 * BLOCK + 1] = looks[5] ^ 0b1_0000
    expected = {
        (one, other): (looks[one] ^ looks[other]).bit_count()
        for one in range(len(looks))
        for other in range(one + 1, len(looks))
        if (looks[one] ^ looks[other]).bit_count() <= 8
    }
    found = {
        (one, other): distance
        for pairs, distances in near_pairs(looks, 8)
        for (one, other), distance in zip(pairs.tolist(), distances.tolist(), strict=True)
    }
    assert found == expected
    assert found[5, BLOCK + 3] == 3
    assert found[5, 2 * BLOCK + 1] == 1
    assert found[BLOCK + 3, 2 * BLOCK + 1] == 4


def test_hashes_use_all_64_bits() -> None:
    looks = [0, 2**63, 2**64 - 1]
    assert [pairs.tolist() for pairs, _ in near_pairs(looks, 1)] == [[[0, 1]]]


def brief(findings: Iterable[Finding]) -> list[tuple[str, str, int, list[tuple[str, ...]]]]:
    return [(finding.check, finding.severity, finding.count, finding.examples) for finding in findings]


def near(*photos: Photo, looks: tuple[int, ...], bits: int = 4) -> list[tuple[str, str, int, list[tuple[str, ...]]]]:
    return brief(near_findings(photos, [fact(str(index), look) for index, look in enumerate(looks)], bits))


@pytest.mark.parametrize(
    ("photos", "exact", "alike"),
    [
        ((row("a", "real"), row("b", "ai_generated", "dev")), "duplicates_across_classes error", "across_splits error"),
        ((row("a", "real"), row("b", "real", "test")), "duplicates_across_splits error", "across_splits error"),
        ((row("a", "real"), row("b", "ai_generated")), "duplicates_across_classes error", "across_classes warning"),
        ((row("a", "real"), row("b", "real")), "duplicates warning", "info"),
        ((row("a", "real", group="g"), row("b", "real", "test", group="g")), "duplicates_across_splits error", None),
        ((row("a", "real"), row("a", "real")), None, None),  # two rows of one image
    ],
)
def test_equal_and_alike_images_are_told_by_where_they_are(
    photos: tuple[Photo, Photo], exact: str | None, alike: str | None
) -> None:
    pair = [tuple(photo.path for photo in photos)]
    equal = brief(exact_findings(photos, [fact(), fact()]))
    assert equal == ([(*exact.split(), 1, pair)] if exact else [])
    found = near(*photos, looks=(0, 0b1111))
    name = f"near_duplicates_{alike}".replace("_info", " info").split() if alike else []
    assert found == ([(*name, 1, pair)] if name else [])


def test_each_equal_image_is_paired_with_the_first_of_its_set() -> None:
    photos = [row(path, "real") for path in "abcdef"]
    found = brief(exact_findings(photos, [fact(digest) for digest in "xyxzyx"]))
    assert found == [("duplicates", "warning", 3, [("a", "c"), ("a", "f"), ("b", "e")])]


def test_pictures_further_apart_than_the_limit_do_not_look_alike() -> None:
    photos = (row("a", "real"), row("b", "real"))
    assert near(*photos, looks=(0, 0b11111)) == []
    assert near(*photos, looks=(0, 0b11111), bits=5) != []


def test_equal_pictures_are_not_told_of_again_as_look_alikes() -> None:
    findings = near_findings([row("a", "real"), row("b", "real")], [fact(), fact()], 4)
    assert list(findings) == []


def test_the_examples_are_the_nearest_twelve() -> None:
    photos = [row(f"{index:02}", "real") for index in range(16)]
    looks = [(1 << (4 * index)) - 1 if index else 0 for index in range(16)]
    looks[15] = looks[14] ^ 1
    ((_, _, count, examples),) = near(*photos, looks=tuple(looks), bits=4)
    assert count == 15
    assert len(examples) == 12
    assert examples[0] == ("14", "15")
