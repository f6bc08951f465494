from __future__ import annotations

import numpy as np

from tests.training.pictures import row
from training.checks.findings import BLOCK, exact_findings, exact_pairs, near_findings, near_pairs
from training.checks.pictures import Facts
from training.data.manifest import Photo


def fact(digest: str = "d", look: int = 0) -> Facts:
    return Facts(32, 32, "PNG", digest, look)


def test_equal_digests_are_paired_with_the_first_of_their_set() -> None:
    assert exact_pairs(["a", "b", "a", "c", "b", "a"]).tolist() == [[0, 2], [0, 5], [1, 4]]
    assert exact_pairs([]).shape == (0, 2)


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


def exact(*photos: Photo) -> list[tuple[str, str, int, list[tuple[str, ...]]]]:
    findings = exact_findings(photos, [fact() for _ in photos])
    return [(finding.check, finding.severity, finding.count, finding.examples) for finding in findings]


def near(*photos: Photo, looks: tuple[int, ...], bits: int = 4) -> list[tuple[str, str, int, list[tuple[str, ...]]]]:
    facts = [fact(str(index), look) for index, look in enumerate(looks)]
    findings = near_findings(photos, facts, bits)
    return [(finding.check, finding.severity, finding.count, finding.examples) for finding in findings]


def test_equal_pictures_with_both_labels_are_an_error() -> None:
    found = exact(row("a", "real", "train"), row("b", "ai_generated", "dev"))
    assert found == [("duplicates_across_classes", "error", 1, [("a", "b")])]


def test_equal_pictures_in_two_splits_are_an_error_even_of_one_group() -> None:
    found = exact(row("a", "real", "train", group="g"), row("b", "real", "test", group="g"))
    assert found == [("duplicates_across_splits", "error", 1, [("a", "b")])]


def test_equal_pictures_in_one_split_are_a_warning() -> None:
    found = exact(row("a", "real"), row("b", "real"), row("c", "real"))
    assert found == [("duplicates", "warning", 2, [("a", "b"), ("a", "c")])]


def test_a_picture_in_two_rows_is_no_duplicate_of_itself() -> None:
    assert exact(row("a", "real"), row("a", "real")) == []


def test_look_alikes_in_two_splits_are_an_error() -> None:
    found = near(row("a", "real", "train"), row("b", "ai_generated", "test"), looks=(0, 0b1111))
    assert found == [("near_duplicates_across_splits", "error", 1, [("a", "b")])]


def test_look_alikes_with_both_labels_are_a_warning() -> None:
    found = near(row("a", "real"), row("b", "ai_generated"), looks=(0, 1))
    assert found == [("near_duplicates_across_classes", "warning", 1, [("a", "b")])]


def test_look_alikes_in_one_split_are_information() -> None:
    found = near(row("a", "real"), row("b", "real"), looks=(0, 1))
    assert found == [("near_duplicates", "info", 1, [("a", "b")])]


def test_look_alikes_of_one_group_are_known_to_be() -> None:
    assert near(row("a", "real", group="g"), row("b", "ai_generated", group="g"), looks=(0, 0)) == []


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
