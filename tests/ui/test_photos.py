import io
import os
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from gateway.client import PhotoUnreadableError
from tests.ui.photos import clear_png, rotated_jpeg, scans
from ui.photos import NoRoom, PhotoShelf, room_of, upright_jpeg


def shelf_in(folder: Path) -> PhotoShelf:
    return PhotoShelf(folder, photo_max_bytes=100, total_max_bytes=100_000)


def photo(folder: Path, name: str) -> Path:
    path = folder / name / "photo.jpg"
    path.parent.mkdir()
    path.write_bytes(b"photo")
    return path


def test_new_photos_replace_those_before_and_go_with_their_folders(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    photos = [photo(tmp_path, name) for name in ("one", "two", "three")]
    for kept in (photos[:1], photos[1:], photos[1:]):
        shelf.keep("tab", *kept)
    assert [path.exists() for path in photos] == [False, True, True]
    shelf.let_go("tab", photos[1])
    assert ([path.exists() for path in photos], shelf.holds("tab")) == ([False, False, True], True)
    for _ in range(2):
        shelf.drop("tab")
    assert (list(tmp_path.iterdir()), shelf.holds("tab")) == ([], False)


def test_a_photo_in_two_tabs_stays_until_the_last_lets_go(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    path = photo(tmp_path, "one")
    for tab in ("first", "second"):
        shelf.keep(tab, path)
    shelf.drop("first")
    assert path.exists()
    shelf.let_go("second", path)
    assert not path.exists()


def test_photos_in_use_are_young_again_for_the_sweep(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    path = photo(tmp_path, "one")
    shelf.keep("tab", path, tmp_path / "gone.jpg")
    os.utime(path, (0, 0))
    shelf.touch("tab")
    assert path.stat().st_mtime > 0


def test_only_a_regular_file_of_its_own_folder_and_of_bounded_size_is_found(tmp_path: Path) -> None:
    shelf, path = shelf_in(tmp_path), photo(tmp_path, "one")
    assert shelf.find({"path": f"{path.parent}/./{path.name}"}) == path
    odd = [path.with_name(name) for name in ("link", "pipe", "large", "absent", "x" * 300, "a\0b", "\ud800")]
    odd[0].symlink_to(path)
    os.mkfifo(odd[1])
    odd[2].write_bytes(bytes(101))
    (tmp_path / "elsewhere").symlink_to(path.parent)
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for named in (*odd, tmp_path / "elsewhere" / path.name, tmp_path / "folder" / "inner"):
        with pytest.raises(PhotoUnreadableError):
            shelf.find({"path": str(named)})


@pytest.mark.parametrize(
    "upload",
    [None, [], {}, "", {"path": None}, {"path": "/etc/passwd"}, {"path": "one/photo.jpg"}, {"path": "http://a/b/c"}],
    ids=str,
)
def test_what_does_not_name_an_upload_is_refused_by_its_name(tmp_path: Path, upload: object) -> None:
    with pytest.raises(gr.Error):
        shelf_in(tmp_path).find(upload)
    with pytest.raises(gr.Error):
        shelf_in(tmp_path).find({"path": str(tmp_path / "a" / ".." / ".." / "b" / "c")})


def test_nothing_but_an_upload_is_ever_deleted(tmp_path: Path) -> None:
    mine = photo(tmp_path, "mine")
    (tmp_path / "uploads").mkdir()
    shelf = shelf_in(tmp_path / "uploads")
    shelf.keep("tab", mine)
    shelf.drop("tab")
    assert mine.is_file()


def test_the_sweep_takes_what_is_old_and_what_broke_off(tmp_path: Path) -> None:
    shelf, old, new = shelf_in(tmp_path), photo(tmp_path, "old"), photo(tmp_path, "new")
    part = tmp_path / "tmp123"
    part.write_bytes(b"half a")
    shelf.keep("tab", old, new)
    for path in (old, part, old.parent):
        os.utime(path, (0, 0))
    shelf.sweep()
    assert ([path.exists() for path in (old, part, new)], shelf.holds("tab")) == ([False, False, True], True)
    shelf.sweep(stay_s=-1)
    assert (list(tmp_path.iterdir()), shelf.holds("tab")) == ([], False)


def test_uploads_have_room_until_the_folder_is_full(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    coming = shelf.reserve(room_of(600))
    with pytest.raises(NoRoom):
        shelf.reserve(50_000)
    shelf.release(coming)
    with pytest.raises(NoRoom):
        shelf.reserve(50_000)
    shelf.recount()  # nothing has come of the first
    shelf.reserve(50_000)


def opened(jpeg: bytes | None) -> Image.Image:
    assert jpeg is not None
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == "JPEG"
    return image


def test_a_rotated_photo_stands_upright_and_small_in_its_shape_and_loses_its_exif() -> None:
    image = opened(upright_jpeg(rotated_jpeg(4000, 2000)))
    assert image.size == (512, 1024)
    assert not image.getexif()


def test_transparency_lies_on_white() -> None:
    assert opened(upright_jpeg(clear_png(40, 30))).getpixel((20, 15)) == (255, 255, 255)


def test_a_progressive_photo_is_drawn_and_one_of_endless_scans_is_not() -> None:
    assert opened(upright_jpeg(scans(0))).size == (1024, 1024)
    assert upright_jpeg(scans(40)) is None


@pytest.mark.parametrize("photo", [b"", b"no picture", rotated_jpeg(300, 200)[:200]])
def test_what_cannot_be_drawn_has_no_preview(photo: bytes) -> None:
    assert upright_jpeg(photo) is None
