from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.conftest import SaveManifest, row
from training.data.datamodule import PhotoDataset
from training.data.manifest import (
    LABELS,
    Photo,
    of_split,
    read_manifest,
    read_rows,
    sampling_weights,
    write_manifest,
)
from training.files import StageError

MANIFEST = Path("manifest.csv")


def photo(label: str, source: str, split: str = "train") -> Photo:
    return Photo("a.png", label, split, source, "none", "shoes", "group", "CC0")


def test_a_manifest_gives_its_photos_in_order(data_root: Path, rows: list[dict[str, str]]) -> None:
    photos = read_manifest(data_root, MANIFEST)
    assert photos == [Photo(**entry) for entry in rows]
    assert Counter((p.split, p.label) for p in photos) == {
        ("train", "real"): 12,
        ("train", "ai_generated"): 12,
        ("dev", "real"): 6,
        ("dev", "ai_generated"): 6,
        ("test", "real"): 6,
        ("test", "ai_generated"): 6,
    }


@pytest.mark.parametrize("column", ["path", "label", "split", "source", "generator", "domain", "group", "licence"])
def test_a_missing_column_is_named(column: str, save_manifest: SaveManifest) -> None:
    root = save_manifest([row(0, "train", "real")])
    text = (root / MANIFEST).read_text(encoding="utf-8")
    (root / MANIFEST).write_text(text.replace(column, "other", 1), encoding="utf-8")
    with pytest.raises(StageError, match=f"manifest.csv: no column {column}$"):
        read_manifest(root, MANIFEST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "fake"}, "label 'fake' or split 'train' is unknown"),
        ({"split": "validation"}, "split 'validation' is unknown"),
        ({"label": "", "split": ""}, "label '' or split '' is unknown"),
        ({"path": "train/9.png"}, "missing image train/9.png$"),
        ({"split": "dev", "group": "train-0-real"}, "group 'train-0-real' is in two splits$"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named_with_its_line(
    change: dict[str, str], message: str, save_manifest: SaveManifest
) -> None:
    root = save_manifest([row(0, "train", "real"), row(1, "train", "real") | change])
    (root / "train" / "9.png").unlink(missing_ok=True)
    with pytest.raises(StageError, match=rf"manifest.csv, line 3: .*{message}"):
        read_manifest(root, MANIFEST)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    photos = [replace(photo("real", "größe"), path="b.jpg", group='a, "b"'), photo("ai_generated", "x")]
    write_manifest(tmp_path / "new" / "manifest.csv", photos)
    assert [Photo(**entry) for entry in read_rows(tmp_path / "new" / "manifest.csv")] == photos[::-1]
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["manifest.csv"]


def test_columns_and_cells_that_are_not_required_read_as_empty(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_bytes("\ufeffpath,label,note\n a.jpg ,real,nice\nb.jpg\n".encode())
    rows = read_rows(file, required=("path", "label"))
    assert [(r["path"], r["label"], r["split"]) for r in rows] == [("a.jpg", "real", ""), ("b.jpg", "", "")]


def test_an_absent_file_of_rows_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StageError) as refused:
        read_rows(tmp_path / "m.csv")
    assert str(refused.value) == (
        f"no manifest at {tmp_path}/m.csv: run the stage download, or set your data folder with --set data.root=FOLDER"
    )


def test_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("path,label\ngröße.jpg,real\n".encode("latin-1"))
    with pytest.raises(StageError, match=r"m\.csv is not UTF-8: save it as CSV UTF-8$"):
        read_rows(tmp_path / "m.csv", required=())


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_split_without_a_class_is_refused(split: str) -> None:
    photos = [photo("real", "a", "train"), photo("real", "a", "dev"), photo("real", "a", "test")]
    with pytest.raises(StageError, match=f"^split {split} has no photo labelled ai_generated$"):
        of_split(photos, split)  # type: ignore[arg-type]  # parametrize gives plain strings


@pytest.mark.parametrize(
    ("power", "share"), [(0.0, 1 / 2), (0.5, 3 / 5), (1.0, 9 / 13)], ids=["sources alike", "by root of size", "by size"]
)
def test_classes_weigh_alike_and_sources_by_a_power_of_their_size(power: float, share: float) -> None:
    photos = [photo("real", "a")] * 9 + [photo("real", "b")] * 4 + [photo("ai_generated", "a")]
    masses: Counter[tuple[str, str]] = Counter()
    for one, weight in zip(photos, sampling_weights(photos, power), strict=True):
        masses[one.label, one.source] += weight  # type: ignore[assignment]  # typeshed counts in integers
    assert masses["ai_generated", "a"] == pytest.approx(1)
    assert masses["real", "a"] == pytest.approx(share)
    assert masses["real", "b"] == pytest.approx(1 - share)


def test_a_dataset_gives_pictures_with_their_labels(data_root: Path) -> None:
    photos = read_manifest(data_root, MANIFEST)[:2]
    dataset = PhotoDataset(photos, data_root, lambda image: [torch.tensor(image.size)])
    sizes, labels = zip(*(dataset[index] for index in range(len(dataset))), strict=True)
    assert all(64 <= side <= 96 for [size] in sizes for side in size.tolist())
    assert [LABELS[int(label)] for label in labels] == ["real", "ai_generated"]


def test_within_a_view_that_both_classes_have_they_weigh_alike() -> None:
    """Else the classes' shares of scaled pictures would tell them apart."""
    photos = [
        Photo(f"{label}{number}", label, "train", f"{label}{number % 2}", "", "", str(number), "", view)
        for label, view, count in (
            ("real", "native", 9),
            ("real", "whole", 1),
            ("ai_generated", "native", 2),
            ("ai_generated", "whole", 8),
            ("ai_generated", "sheet", 3),
        )
        for number in range(count)
    ]
    weights = sampling_weights(photos, 0.4)
    mass = {
        (label, view): sum(
            w for photo, w in zip(photos, weights, strict=True) if (photo.label, photo.view) == (label, view)
        )
        for label in LABELS
        for view in ("native", "whole", "sheet")
    }
    assert sum(mass[label, view] for label, view in mass if label == "real") == pytest.approx(1)
    assert sum(mass[label, view] for label, view in mass if label == "ai_generated") == pytest.approx(1)
    share = [mass[label, "native"] / (mass[label, "native"] + mass[label, "whole"]) for label in LABELS]
    assert share[0] == pytest.approx(share[1], abs=0.02)
