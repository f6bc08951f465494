import os
from collections import Counter
from pathlib import Path

import pytest

from tests.training.pictures import encoded, noise, row, save, save_folder, small
from training import download
from training.data.manifest import LABELS, Photo, read_manifest
from training.files import Paths, StageError


def take(tmp_path: Path) -> list[Photo]:
    """Download from tmp_path/mine and return what a later stage reads."""
    download.run(small(tmp_path / "photos", f"data.source={tmp_path / 'mine'}"), Paths())
    return read_manifest(tmp_path / "photos", Path("manifest.csv"))


def fill(folder: Path, *paths: str) -> None:
    for seed, path in enumerate(paths):
        save(folder, path, encoded(noise(seed)))


def write_manifest(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.csv").write_text(text, encoding="utf-8")


def ten(label: str, source: str) -> list[str]:
    return [f"{label}/{source}/{chr(97 + index)}.png" for index in range(10)]


def test_a_manifest_with_splits_is_taken_as_it_is(tmp_path: Path) -> None:
    photos = [row(f"{split}/{label}.png", label, split) for split in ("train", "dev", "test") for label in LABELS]
    save_folder(tmp_path / "mine", photos)
    assert take(tmp_path) == sorted(photos, key=lambda photo: photo.path)
    assert (tmp_path / "photos/dev/real.png").read_bytes() == (tmp_path / "mine/dev/real.png").read_bytes()


def test_pictures_that_the_manifest_does_not_list_stay_behind(tmp_path: Path) -> None:
    save_folder(tmp_path / "mine", [row("a.png", "real"), row("b.png", "ai_generated")])
    fill(tmp_path / "mine", "c.png")
    take(tmp_path)
    names = sorted(file.name for file in (tmp_path / "photos").iterdir())
    assert names == ["SHA256SUMS", "a.png", "b.png", "manifest.csv", "origin.json"]


def test_a_manifest_of_paths_and_labels_is_completed_and_split(tmp_path: Path) -> None:
    paths = [path for label in LABELS for source in ("x", "y") for path in ten(label, source)]
    fill(tmp_path / "mine", *paths)
    write_manifest(tmp_path / "mine", "path,label\n" + "".join(f"{path},{path.split('/')[0]}\n" for path in paths))
    photos = take(tmp_path)
    assert Counter((photo.label, photo.split) for photo in photos) == {
        (label, split): count for label in LABELS for split, count in (("train", 14), ("dev", 3), ("test", 3))
    }
    first = next(photo for photo in photos if photo.path == "ai_generated/x/a.png")
    assert (first.source, first.generator, first.domain, first.group, first.licence) == (
        "x",
        "unknown",
        "unknown",
        "ai_generated/x/a.png",
        "none stated",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.png,fake\n", "line 2: label 'fake' is not one of real, ai_generated"),
        ("path,label\nb.png,real\n", "lists no existing image"),
        ("path,label\na.png,real\n../outside.png,real\n", "line 3: missing image '../outside.png'"),
        ("path,label\n,real\n", "line 2: missing image ''"),
        ("path,label\n/etc/passwd,real\n", "line 2: missing image '/etc/passwd'"),
        ("path,label,split\na.png,real,train\na.png,real,\n", "1 rows have no split; fill the column split"),
        ("path,label\n", "lists no existing image"),
        ("path\na.png\n", "no column label"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    fill(tmp_path, "mine/a.png", "outside.png")
    write_manifest(tmp_path / "mine", text)
    with pytest.raises(StageError) as refused:
        take(tmp_path)
    assert message in str(refused.value)
    assert not (tmp_path / "photos").exists()


@pytest.mark.parametrize("manifest", [False, True], ids=["two folders", "a manifest"])
def test_what_is_no_file_that_can_be_read_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], manifest: bool
) -> None:
    good = [f"{label}/{index:02}/{index}.png" for label in LABELS for index in range(20)]
    fill(tmp_path, *(f"mine/{path}" for path in good))
    odd = tmp_path / "mine" / "real"
    (odd / "dangling.jpg").symlink_to("gone.jpg")
    (odd / "round.jpg").symlink_to("round.jpg")
    (odd / "loop").symlink_to(odd)
    (odd / "folder.jpg").mkdir()
    os.mkfifo(odd / "pipe.jpg")
    bad = [f"real/{name}.jpg" for name in ("dangling", "folder", "pipe", "round")]
    if manifest:
        rows = "".join(f"{path},{path.split('/')[0]}\n" for path in good + bad)
        write_manifest(tmp_path / "mine", f"path,label\n{rows}")
    assert sorted(photo.path for photo in take(tmp_path)) == sorted(good)
    told = capsys.readouterr().err.splitlines()
    assert told == [f"download: skipped {path}: not a readable file" for path in bad]


def test_folders_named_after_the_classes_need_no_manifest(tmp_path: Path) -> None:
    for label in LABELS:
        for source in ("x", "y"):
            fill(tmp_path / "mine", *ten(label, source))
    fill(tmp_path / "mine", "real/x/.trash/a.png", "real/x/notes.txt", "real/z/deep/down/A.PNG")
    photos = take(tmp_path)
    assert len(photos) == 41
    assert {photo.source for photo in photos} == {"x", "y", "z"}
    assert {(photo.label, photo.generator) for photo in photos} == {("real", "none"), ("ai_generated", "unknown")}


def test_pictures_directly_in_a_class_folder_have_the_class_for_source(tmp_path: Path) -> None:
    fill(tmp_path / "mine", *(f"{label}/{chr(97 + index)}.png" for label in LABELS for index in range(10)))
    assert {(photo.label, photo.source) for photo in take(tmp_path)} == {(label, label) for label in LABELS}


def test_names_that_differ_in_an_index_are_a_group(tmp_path: Path) -> None:
    for label in LABELS:
        fill(tmp_path / "mine", *ten(label, "x"))
    fill(
        tmp_path / "mine",
        *(f"real/x/{name}.png" for name in ("boot-1", "boot-2", "hat_01", "hat (2)", "IMG_0001", "7")),
    )
    groups = {photo.path: photo.group for photo in take(tmp_path) if len(Path(photo.path).stem) > 1}
    assert groups == {
        "real/x/boot-1.png": "real/x/boot",
        "real/x/boot-2.png": "real/x/boot",
        "real/x/hat_01.png": "real/x/hat",
        "real/x/hat (2).png": "real/x/hat",
        "real/x/IMG_0001.png": "real/x/IMG_0001",
    }


def test_a_folder_that_is_merely_numbered_is_no_group(tmp_path: Path) -> None:
    fill(tmp_path / "mine", *(f"{label}/photo_{index}.png" for label in LABELS for index in range(20)))
    photos = take(tmp_path)
    assert {photo.group for photo in photos} == {photo.path for photo in photos}


@pytest.mark.parametrize("paths", [(), ("real/a.png",), ("real/a.png", "ai_generated/a.gif"), ("a.png", "b.png")])
def test_a_folder_of_neither_layout_is_refused(paths: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    fill(tmp_path / "mine", *paths)
    with pytest.raises(StageError) as refused:
        take(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}/mine has neither a manifest nor images (.jpg, .jpeg, .png, .webp) in both real/ and ai_generated/"
    )


def test_pictures_are_linked_where_links_work_and_copied_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_folder(tmp_path / "mine", [row("a.png", "real"), row("b.png", "ai_generated")])
    take(tmp_path)
    assert (tmp_path / "photos/a.png").samefile(tmp_path / "mine/a.png")

    def across_devices(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", across_devices)
    take(tmp_path)
    assert not (tmp_path / "photos/a.png").samefile(tmp_path / "mine/a.png")
    assert (tmp_path / "photos/a.png").read_bytes() == (tmp_path / "mine/a.png").read_bytes()


def test_a_folder_that_changed_is_taken_anew(tmp_path: Path) -> None:
    photos = [row("a.png", "real"), row("b.png", "ai_generated")]
    save_folder(tmp_path / "mine", photos)
    take(tmp_path)
    save_folder(tmp_path / "mine", [*photos, row("c.png", "real")])
    assert len(take(tmp_path)) == 3
