import os
from pathlib import Path

from ui.shelf import PhotoShelf


def photo(folder: Path, name: str) -> Path:
    path = folder / name / "photo.jpg"
    path.parent.mkdir()
    path.write_bytes(b"photo")
    return path


def test_a_dropped_photo_goes_with_its_folder(tmp_path: Path) -> None:
    shelf = PhotoShelf()
    shelf.keep("tab", photo(tmp_path, "one"))
    shelf.drop("tab")
    shelf.drop("tab")
    assert list(tmp_path.iterdir()) == []


def test_a_new_photo_replaces_the_one_before(tmp_path: Path) -> None:
    shelf = PhotoShelf()
    one, two = photo(tmp_path, "one"), photo(tmp_path, "two")
    for path in (one, two, two):
        shelf.keep("tab", path)
    assert (one.exists(), two.exists()) == (False, True)


def test_a_photo_in_two_tabs_stays_until_the_last_lets_go(tmp_path: Path) -> None:
    shelf = PhotoShelf()
    path = photo(tmp_path, "one")
    shelf.keep("first", path)
    shelf.keep("second", path)
    shelf.drop("first")
    assert path.exists()
    shelf.drop("second")
    assert not path.exists()


def test_photos_of_a_batch_go_one_by_one_or_all_at_once(tmp_path: Path) -> None:
    shelf = PhotoShelf()
    photos = [photo(tmp_path, name) for name in ("one", "two", "three")]
    shelf.keep("tab", *photos)
    shelf.let_go("tab", photos[0])
    assert [path.exists() for path in photos] == [False, True, True]
    assert shelf.holds("tab")
    shelf.drop("tab")
    assert (list(tmp_path.iterdir()), shelf.holds("tab")) == ([], False)


def test_a_photo_that_another_owner_has_taken_over_stays(tmp_path: Path) -> None:
    shelf = PhotoShelf()
    path = photo(tmp_path, "one")
    shelf.keep("chosen", path)
    shelf.keep("running", path)
    shelf.drop("chosen")
    assert path.exists()
    shelf.let_go("running", path)
    assert not path.exists()


def test_photos_in_use_are_young_again_for_the_sweep(tmp_path: Path) -> None:
    shelf = PhotoShelf()
    path = photo(tmp_path, "one")
    shelf.keep("tab", path, tmp_path / "gone.jpg")
    os.utime(path, (0, 0))
    shelf.touch("tab")
    assert path.stat().st_mtime > 0
