import hashlib
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from tests.training.conftest import Log
from tests.training.pictures import FakeHub, cifake, row, save, save_folder, small
from training import download, tracking
from training.data import manifest
from training.data.manifest import LABELS, Photo, read_manifest
from training.files import Paths, StageError

MANIFEST = Path("manifest.csv")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def fetch(root: Path, *overrides: str, hub: FakeHub | None = None) -> list[Photo]:
    return download.run(small(root, "data.source=cifake", *overrides), Paths(), hub or FakeHub())


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("generated") / "photos"
    fetch(root, "data.source=tiny")
    return root


def test_the_generated_set_has_every_split_unseen_sources_and_product_photos(generated: Path) -> None:
    photos = read_manifest(generated, MANIFEST)
    assert Counter((photo.split, photo.label) for photo in photos) == {
        (split, label): count for split, count in (("train", 40), ("dev", 20), ("test", 20)) for label in LABELS
    }
    assert len({(photo.source, photo.split) for photo in photos}) == len({photo.source for photo in photos}) == 16
    assert {p.domain for p in photos if p.split == "test" and p.label == "real"} == {"shoes", "objects"}


def test_the_generated_classes_differ_in_the_lattice_of_up_sampling_and_share_format_and_brightness(
    generated: Path,
) -> None:
    means: defaultdict[str, list[float]] = defaultdict(list)
    rhythm: defaultdict[str, list[float]] = defaultdict(list)
    for photo in read_manifest(generated, MANIFEST):
        with Image.open(generated / photo.path) as picture:
            assert picture.format == "JPEG"
            assert 128 <= min(picture.size) <= max(picture.size) <= 224
            means[photo.label].append(float(np.asarray(picture).mean()))
            steps = np.abs(np.diff(np.asarray(picture.convert("L"), dtype=float), axis=1))
        phases = [steps[:, phase::4].mean() for phase in range(4)]
        rhythm[photo.label].append(max(phases) / float(np.median(phases)))
    assert np.mean(means["real"]) == pytest.approx(np.mean(means["ai_generated"]), abs=3)
    assert max(rhythm["real"]) < min(rhythm["ai_generated"])


def test_checksums_are_those_of_sha256sum(generated: Path) -> None:
    lines = (generated / manifest.NAME).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 160 + len((MANIFEST, download.ORIGIN))
    for line in lines:
        digest, path = line.split("  ")
        assert hashlib.sha256((generated / path).read_bytes()).hexdigest() == digest
    assert manifest.changed(generated) == []


def test_cifake_gives_per_class_pictures_and_our_test_is_its_own(tmp_path: Path) -> None:
    entries = cifake(train=40, test=10)
    photos = fetch(tmp_path / "photos", "data.per_class=20", hub=FakeHub(entries))
    assert Counter((photo.label, photo.split) for photo in photos) == {
        (label, split): count
        for label in ("real", "ai_generated")
        for split, count in (("train", 14), ("dev", 3), ("test", 3))
    }
    published = {(entry.data, entry.label): entry.split for entry in entries}
    assert {Path(photo.path).suffix for photo in photos} == {".jpg"}
    for photo in photos:
        split = published[(tmp_path / "photos" / photo.path).read_bytes(), photo.label]
        assert (photo.split == "test") == (split == "test")
    assert {(p.source, p.generator, p.licence) for p in photos} == {
        ("cifake", "none", "MIT"),
        ("cifake", "stable-diffusion-v1.4", "MIT"),
    }


def test_the_pick_of_cifake_depends_on_the_seed_but_not_on_the_order_of_a_hub(tmp_path: Path) -> None:
    entries = cifake(train=40, test=10)
    picks = [
        {photo.path: photo.split for photo in fetch(tmp_path / name, "data.per_class=20", seed, hub=FakeHub(order))}
        for name, seed, order in (
            ("a", "data.split_seed=1", entries),
            ("b", "data.split_seed=1", entries[::-1]),
            ("c", "data.split_seed=2", entries),
        )
    ]
    assert picks[0] == picks[1]
    assert picks[0] != picks[2]


def test_a_picture_that_cifake_has_twice_is_taken_once(tmp_path: Path) -> None:
    entries = cifake(train=20, test=5)
    photos = fetch(tmp_path / "photos", "data.per_class=20", hub=FakeHub(entries + entries))
    assert len({photo.path for photo in photos}) == len(photos) == 40


def test_more_than_cifake_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^CIFAKE has 2 real images to test with: lower data\.per_class$"):
        fetch(tmp_path / "photos", "data.per_class=20", hub=FakeHub(cifake(train=20, test=2)))
    assert list(tmp_path.iterdir()) == []


def test_without_a_hub_the_images_stay(generated: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    fetch(root, "data.source=tiny")
    with pytest.raises(StageError, match="CIFAKE is unavailable"):
        fetch(root)
    assert contents(root) == contents(generated)
    assert list(tmp_path.iterdir()) == [root]


def test_an_interruption_leaves_the_pictures_as_they_were(tmp_path: Path) -> None:
    class Interrupted(FakeHub):
        def __call__(self, cache: Path) -> NoReturn:
            super().__call__(cache)
            raise KeyboardInterrupt

    root = tmp_path / "photos"
    fetch(root, "data.per_class=10", hub=FakeHub(cifake(train=20, test=5)))
    before = contents(root)
    with pytest.raises(KeyboardInterrupt):
        fetch(root, "data.per_class=20", hub=Interrupted(cifake(train=20, test=5)))
    assert contents(root) == before
    assert list(tmp_path.iterdir()) == [root]


def test_pictures_that_are_there_are_not_fetched_again(tmp_path: Path) -> None:
    hub = FakeHub(cifake(train=20, test=5))
    first = fetch(tmp_path / "photos", "data.per_class=20", hub=hub)
    again = fetch(tmp_path / "photos", "data.per_class=20", hub=FakeHub())
    assert again == sorted(first, key=lambda photo: photo.path)
    assert len(fetch(tmp_path / "photos", "data.per_class=10", hub=hub)) == 20
    assert hub.asked == 2


@pytest.mark.parametrize(
    ("path", "content"), [("manifest.csv", b"mine"), ("mine.txt", b""), ("real/tiny_real_train_0/00.jpg", None)]
)
def test_what_download_did_not_write_is_not_replaced(
    path: str, content: bytes | None, generated: Path, tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    for name, data in contents(generated).items():
        save(root, name, data)
    if content is None:
        (root / path).unlink()
    else:
        save(root, path, content)
    before = contents(root)
    with pytest.raises(StageError) as refused:
        fetch(root, "data.source=tiny")
    assert str(refused.value) == (
        f"data.root {root} has files that download did not write ({path}, 1 in all): set another data.root, or move "
        "them away"
    )
    assert contents(root) == before


def test_a_source_within_the_root_is_refused(tmp_path: Path) -> None:
    save_folder(tmp_path / "photos", [row("a.png", "real")])
    for source in (tmp_path / "photos", tmp_path / "photos" / "real"):
        with pytest.raises(StageError, match=r"is in data\.root, which download replaces: set another"):
            fetch(tmp_path / "photos", f"data.source={source}")


def test_a_linked_root_stays_a_link_and_hidden_files_in_it_are_no_obstacle(tmp_path: Path) -> None:
    save(tmp_path / "disk", ".DS_Store", b"")
    (tmp_path / "photos").symlink_to(tmp_path / "disk")
    fetch(tmp_path / "photos", "data.per_class=10", hub=FakeHub(cifake(train=20, test=5)))
    assert (tmp_path / "photos").is_symlink()
    assert len(read_manifest(tmp_path / "photos", MANIFEST)) == 20


def command(monkeypatch: pytest.MonkeyPatch, root: Path, source: str) -> Log:
    log = Log()
    monkeypatch.setattr(tracking, "tracked", log.tracked)
    monkeypatch.setattr(sys, "argv", ["download", "--set", f"data.root={root}", f"data.source={source}"])
    download.main()
    return log


def test_the_command_counts_and_logs_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = command(monkeypatch, tmp_path / "photos", "tiny")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"160 images in {tmp_path}/photos (40 dev, 40 test, 80 train)"
    assert (log.stages, log.artifacts) == (["download"], [tmp_path / "photos" / "manifest.csv"])
    assert log.figures == {"data/train": 80, "data/dev": 40, "data/test": 40}


def test_the_command_ends_in_one_line_on_bad_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stopped:
        command(monkeypatch, tmp_path / "photos", str(tmp_path / "absent"))
    assert str(stopped.value) == (
        f"download: data.source is '{tmp_path}/absent': not cifake, tiny or an existing folder"
    )
