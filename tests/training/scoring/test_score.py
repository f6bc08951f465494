import csv
import json
import logging
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import save_file
from torch import nn

from handler import network
from handler.detector import Detector, Item, Prediction
from handler.engines import AUTO
from handler.images import decode
from handler.spec import ModelSpec, decide
from handler.transforms import to_pixels
from tests.handler.detectors import eager
from tests.handler.pictures import encode, photo
from tests.training.marks import NOISE
from training.files import StageError
from training.package import build_archive
from training.scoring import score
from training.scoring.archive import read_packed
from training.scoring.results import Results, write_list
from training.scoring.score import Plan, ShardWriter, Summary

pytestmark = [pytest.mark.slow, *NOISE]

SPEC = ModelSpec("7.0.0", "test_efficientnet", temperature=0.1, offset=0.0, input_size=48, details=1, detail_size=32)
COLUMNS = ["path", "prediction", "probability", "confidence", "model_version", "error"]
GOOD = [f"shoes/{index}.jpg" for index in range(5)] + ["0.png", "cup.webp", "download"]
BAD = {"empty.jpg": "unsupported_format", "page.png": "unsupported_format", "cut.jpg": "corrupt_image"}
CPU = {"accelerator": "cpu", "devices": 1, "precision": "32-true"}


class Interrupted(Exception):  # noqa: N818 - no error of the product's
    """What a test stops a run with."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(SPEC, tmp_path_factory.mktemp("archive"))


def packed(spec: ModelSpec, folder: Path) -> Path:
    """A network of random weights, the last ones large enough to tell photos apart, in an archive."""
    torch.manual_seed(0)
    model = network.build(spec)
    nn.init.normal_(model.get_parameter("classifier.weight"), std=30)
    save_file(model.state_dict(), folder / "model.safetensors")
    return build_archive(spec, folder / "model.safetensors", folder / "store" / "a.mar")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight photos, one without a suffix; three files that are named as photos and are none; and what is no photo."""
    root = tmp_path / "photos"
    kinds = {".png": "PNG", ".webp": "WEBP"}
    contents = {
        path: encode(photo(90 + 7 * index, 60 + 5 * index), kinds.get(Path(path).suffix, "JPEG"))
        for index, path in enumerate(GOOD)
    }
    contents |= {"empty.jpg": b"", "page.png": b"<html>", "cut.jpg": contents["shoes/1.jpg"][:500]}
    contents |= {"readme.txt": b"RIFF", ".hidden.jpg": contents["0.png"], ".cache/0.jpg": contents["0.png"]}
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


@pytest.fixture
def plan(photos: Path, archive: Path, tmp_path: Path) -> Plan:
    return Plan(photos, tmp_path / "out", archive, CPU, batch_size=2, shard_size=4)


def read(out: Path) -> list[dict[str, Any]]:
    """The rows of all shards, as any reader of Parquet folders has them."""
    return [row for part in sorted(out.glob("*.parquet")) for row in parquet.read_table(part).to_pylist()]


def near(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, with probabilities that may differ in the last digit, since batches are summed in another order."""
    return [row | {"probability": pytest.approx(row["probability"], abs=1.01e-4)} for row in rows]


def by_detector(detector: Detector, root: Path, path: str) -> dict[str, Any]:
    """The row that the service's own detector would give."""
    [predicted] = detector.predict([Item((root / path).read_bytes())])
    if isinstance(predicted, Prediction):
        return asdict(predicted.verdict) | {"path": path, "model_version": "7.0.0", "error": None}
    nothing = dict.fromkeys(("prediction", "probability", "confidence"))
    return nothing | {"path": path, "model_version": "7.0.0", "error": predicted.code}


def csv_of(file: Path, rows: list[dict[str, str]]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def test_every_picture_of_a_folder_gets_the_verdict_of_the_detector_that_serves(plan: Plan) -> None:
    summary = score.run(plan)
    rows = read(plan.out)
    served = read_packed(plan.archive, plan.source.parent / "served")
    detector = eager(served.spec, served.weights)
    assert rows == near([by_detector(detector, plan.source, row["path"]) for row in rows])
    assert {row["path"] for row in rows} == {*GOOD, *BAD}
    assert {row["path"]: row["error"] for row in rows if row["error"]} == BAD
    assert len({row["probability"] for row in rows}) == 9  # the network tells the eight photos apart
    positive = sum(row["prediction"] == "ai_generated" for row in rows)
    assert 0 < positive < 8
    assert summary is not None
    assert (summary.pictures, summary.positive, summary.failed, summary.scored) == (11, positive, 3, 11)
    parts = sorted(plan.out.glob("*.parquet"))
    assert [(part.name, parquet.read_metadata(part).num_rows) for part in parts] == [
        ("part-00000.parquet", 4),
        ("part-00001.parquet", 4),
        ("part-00002.parquet", 3),
    ]
    top = ["0.png", "cup.webp", "cut.jpg", "download", "empty.jpg", "page.png"]
    assert [row["path"] for row in rows] == top + GOOD[:5]
    assert parquet.read_schema(parts[0]).names == COLUMNS
    assert parquet.read_table(plan.out).num_rows == 11  # a reader of the folder sees nothing of the list


def test_by_default_scores_are_of_the_precision_that_serves_whatever_the_decoding_processes(plan: Plan) -> None:
    score.run(replace(plan, trainer={"accelerator": "cpu", "devices": 1}, workers=2))
    engine = read_packed(plan.archive, plan.out).engine(1, AUTO)
    for row in read(plan.out):
        if row["error"] is None:
            [forward] = engine.run([to_pixels(decode((plan.source / row["path"]).read_bytes()), SPEC)], [False])
            assert row["probability"] == pytest.approx(decide(forward.logit, SPEC).probability, abs=1.01e-4)


def test_a_folder_a_csv_and_a_parquet_list_agree(photos: Path, tmp_path: Path) -> None:
    write_list(photos, tmp_path / "folder.parquet", 4)
    paths = parquet.read_table(tmp_path / "folder.parquet").column("path").to_pylist()
    parquet.write_table(pa.table({"path": paths}), tmp_path / "list.parquet")
    sources = (photos, csv_of(tmp_path / "list.csv", [{"path": path} for path in paths]), tmp_path / "list.parquet")
    assert len({write_list(source, tmp_path / "found.parquet", 4) for source in sources}) == 1


def test_columns_of_a_list_are_carried_through_as_they_are(tmp_path: Path) -> None:
    def carried(source: Path) -> pa.Table:
        results = Results(tmp_path / source.suffix)
        results.prepare(source, 8, {})
        results.write(0, ["corrupt_image"] * results.sizes()[0], "7.0.0")
        return parquet.read_table(results.part(0))

    rows = [{"sku": f"00{index}", "path": path, "note": 'a, "b"\nc'} for index, path in enumerate(GOOD)]
    found = carried(csv_of(tmp_path / "list.csv", rows))
    assert found.column_names == [*COLUMNS, "sku", "note"]
    assert found.select(["sku", "path", "note"]).to_pylist() == rows
    typed = pa.table({"price": [1.5, None], "path": GOOD[:2], "tags": [["a"], ["b", "c"]]})
    parquet.write_table(typed, tmp_path / "list.parquet")
    assert carried(tmp_path / "list.parquet").select(["price", "path", "tags"]) == typed


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_list_is_read_as_spreadsheets_write_it(tmp_path: Path, encoding: str, delimiter: str) -> None:
    text = f"path{delimiter}sku\nw\u00fcrfel, rot.jpg{delimiter}007\n".replace(
        ", rot", "" if delimiter == "," else ", rot"
    )
    marked = f"\ufeff{text}" if encoding == "utf-16-be" else text
    (tmp_path / "list.csv").write_bytes(marked.encode(encoding))
    write_list(tmp_path / "list.csv", tmp_path / "list.parquet", 4)
    name = "w\u00fcrfel.jpg" if delimiter == "," else "w\u00fcrfel, rot.jpg"
    assert parquet.read_table(tmp_path / "list.parquet").to_pylist() == [{"path": name, "sku": "007"}]


def test_what_cannot_be_read_is_left_out_of_a_folder_and_is_a_row_with_an_error_of_a_list(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(plan.source / "pipe.jpg")
    os.mkfifo(plan.source / "shoes" / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(plan.source / "socket.png"))
    name = b"caf\xe9.jpg".decode(errors="surrogateescape")  # no UTF-8
    (plan.source / name).write_bytes((plan.source / GOOD[0]).read_bytes())
    score.run(plan)
    errors = {row["path"]: row["error"] for row in read(plan.out) if row["path"] not in GOOD}
    assert errors == BAD | {"caf\\xe9.jpg": "unreadable_file"}
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("score: skipped ")]
    assert told == [
        f"score: skipped {plan.source / name}: neither a file nor a folder"
        for name in ("pipe.jpg", "socket.png", "shoes/pipe")
    ]
    bad = ["gone.jpg", None, "shoes", "nul\0.jpg", "pipe.jpg", "/dev/zero"]
    parquet.write_table(pa.table({"path": [*bad, "0.png"]}), tmp_path / "list.parquet")
    summary = score.run(replace(plan, source=tmp_path / "list.parquet", root=plan.source, out=tmp_path / "listed"))
    assert [row["error"] for row in read(tmp_path / "listed")] == ["unreadable_file"] * len(bad) + [None]
    assert summary is not None
    assert (summary.pictures, summary.failed) == (7, 6)


@pytest.mark.parametrize("words", [("score", "", "--out", ""), ("score", "photos", "--out", "")])
def test_the_command_without_source_or_results_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "argv", list(words))
    with pytest.raises(SystemExit):
        score.main()
    assert "is empty: give a path" in capsys.readouterr().err


def test_a_stopped_run_loses_the_shard_in_work_and_goes_on_with_it(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ShardWriter.on_predict_batch_end

    def stopped(self: ShardWriter, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - Lightning's
        if arguments[3].shard == 1 and arguments[3].ends_shard:
            raise Interrupted
        real(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "on_predict_batch_end", stopped)
        with pytest.raises(Interrupted):
            score.run(plan)
    first = plan.out / "part-00000.parquet"
    assert list(plan.out.glob("*.parquet")) == [first]
    before = first.stat().st_mtime_ns
    summary = score.run(plan)
    assert summary is not None
    assert (summary.pictures, summary.scored) == (11, 7)
    assert first.stat().st_mtime_ns == before
    score.run(replace(plan, out=tmp_path / "at_once"))
    assert read(plan.out) == read(tmp_path / "at_once")


def test_a_run_after_the_end_scores_nothing_and_a_broken_shard_again(plan: Plan) -> None:
    score.run(plan)
    rows = read(plan.out)
    again = score.run(plan)
    assert again is not None
    assert (again.pictures, again.scored) == (11, 0)
    assert str(again).endswith("3 failed; all were scored before")
    whole = (plan.out / "part-00002.parquet").read_bytes()
    (plan.out / "part-00002.parquet").write_bytes(whole[:-20])
    mended = score.run(plan)
    assert mended is not None
    assert mended.scored == 3
    assert read(plan.out) == rows


def test_results_of_another_job_are_left_alone_until_one_asks_to_start_anew(plan: Plan, tmp_path: Path) -> None:
    plan.out.mkdir()
    (plan.out / "part-00000.parquet").touch()
    with pytest.raises(StageError, match="results of an unknown job"):
        score.run(plan)
    score.run(replace(plan, restart=True))
    rows = read(plan.out)
    (plan.out / "mine.txt").touch()
    (tmp_path / "more").mkdir()
    other = packed(replace(SPEC, version="7.0.1", base_rate=0.3), tmp_path / "more")
    changes: list[tuple[dict[str, Any], str]] = [
        ({"source": plan.source / "shoes", "root": plan.source}, "list_sha256"),
        ({"archive": other}, "model_version, model_sha256"),
        ({"shard_size": 5}, "list_sha256, shard_size"),
    ]
    for change, names in changes:
        with pytest.raises(StageError, match=f"different job; differs in {names}; choose"):
            score.run(replace(plan, **change))
    assert read(plan.out) == rows
    summary = score.run(replace(plan, shard_size=5, restart=True))
    assert summary is not None
    assert summary.scored == summary.pictures == len(read(plan.out))
    assert (plan.out / "mine.txt").is_file()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.csv", "file\na.jpg\n", "one column must be named path; found file"),
        ("list.csv", "path,path\na.jpg,b.jpg\n", "one column must be named path; found path, path"),
        ("list.csv", "path,error\na.jpg,x\n", "columns error collide with those that scoring adds: rename them"),
        ("list.csv", "path\n", "lists no image"),
        ("list.csv", "path,sku\na.jpg\n", "cannot be read as a list of images"),
        ("list.csv", "", "cannot be read as a list of images"),
        (
            "list.csv",
            "gr\u00f6\u00dfe,path\n".encode("latin-1"),
            r"codec can't decode .*; save a CSV as UTF-8 or UTF-16$",
        ),
        ("list.csv", "path\n\u00fc.jpg\n".encode("latin-1"), r"invalid UTF8 data; save a CSV as UTF-8 or UTF-16$"),
        ("list.csv", "path\na.jpg\n".encode("utf-16")[:-1], r"truncated data; save a CSV as UTF-8 or UTF-16$"),
        ("list.csv", "path\na.jpg\n".encode("utf-16-le"), r"named path; found p\\x00a"),
        ("list.parquet", "path\n", "cannot be read as a list of images"),
        ("list.txt", "path\n", "neither a folder nor a .csv or .parquet file"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_and_leaves_no_job(
    name: str, content: str | bytes, message: str, plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StageError, match=message) as refused:
        score.run(replace(plan, source=tmp_path / name))
    assert "\n" not in str(refused.value)
    assert [file for file in plan.out.rglob("*") if file.is_file()] == []


def test_a_bad_source_does_not_cost_the_results_that_were_to_be_replaced(plan: Plan) -> None:
    score.run(plan)
    with pytest.raises(StageError, match="neither a folder"):
        score.run(replace(plan, source=plan.source / "nowhere", restart=True))
    assert len(read(plan.out)) == 11


def test_a_list_is_read_in_blocks_and_its_shards_do_not_depend_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [f"{index}.jpg" for index in range(23)]
    parquet.write_table(pa.table({"path": paths}), tmp_path / "list.parquet", row_group_size=3)
    digests = set()
    for block in (1, 4, 100):
        monkeypatch.setattr("training.scoring.results.BLOCK", block)
        results = Results(tmp_path / str(block))
        results.list.parent.mkdir(parents=True)
        digests.add(write_list(tmp_path / "list.parquet", results.list, 5))
        assert results.sizes() == [5, 5, 5, 5, 3]
        assert [path for shard in range(5) for path in results.paths(shard)] == paths
    assert len(digests) == 1


def test_what_is_no_archive_of_ours_is_refused(plan: Plan, tmp_path: Path) -> None:
    for content in (None, b"no zip"):
        if content is not None:
            (tmp_path / "b.mar").write_bytes(content)
        with pytest.raises(StageError, match=r"b\.mar is not an archive that this code can use"):
            score.run(replace(plan, archive=tmp_path / "b.mar"))


def test_the_summary_says_how_many_and_how_fast() -> None:
    assert str(Summary(12_000, 700, 3, 10_000, 50.0)) == (
        "12,000 images: 700 AI-generated, 3 failed; 10,000 scored now, 200.0 images/s"
    )


@pytest.fixture
def arguments(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A command line, which tests may add to."""
    words = ["score", str(plan.source), "--out", str(plan.out), "--archive", str(plan.archive)]
    words += ["--batch-size", "2", "--shard-size", "4", "--accelerator", "cpu", "--workers", "0"]
    monkeypatch.setattr(sys, "argv", words)
    level = logging.getLogger("pytorch_lightning").level
    yield words
    assert logging.getLogger("pytorch_lightning").level == level


def test_the_command_scores_says_so_and_explains_a_refusal(
    arguments: list[str], plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    score.main()
    out, err = capsys.readouterr()
    assert "Scoring" in out
    assert "11/11" in out
    assert out.splitlines()[-1].startswith("11 images: ")
    assert out.splitlines()[-1].endswith(f" images/s; {plan.out}")
    assert err == ""
    arguments += ["--shard-size", "9"]
    with pytest.raises(SystemExit, match=r"^score: .* use --restart to delete its results$"):
        score.main()


def test_code_that_the_archive_was_not_packed_with_is_told(
    arguments: list[str], plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(plan.archive) as packed, zipfile.ZipFile(tmp_path / "b.mar", "w") as changed:
        for name in packed.namelist():
            changed.writestr(name, packed.read(name) + b"# other" * (name == "handler/transforms.py"))
    arguments += ["--archive", str(tmp_path / "b.mar")]
    score.main()
    assert "b.mar was packed with different code (transforms.py): predictions may differ" in capsys.readouterr().err


def test_a_process_may_find_all_its_shards_done(plan: Plan, tmp_path: Path) -> None:
    """Else Lightning would refuse a loader without batches beside another process that has some."""
    module = score.ScoringModule(plan, read_packed(plan.archive, tmp_path), Results(plan.out), threads=1)
    assert module.allow_zero_length_dataloader_with_multiple_devices


@pytest.mark.timeout(600)  # three times the imports, on a machine that may be busy
def test_two_processes_score_each_picture_once_and_give_the_same_results(plan: Plan, tmp_path: Path) -> None:
    score.run(plan)
    words = [sys.executable, "-m", "training.scoring.score", str(plan.source), "--out", str(tmp_path / "two")]
    words += ["--archive", str(plan.archive), "--batch-size", "2", "--shard-size", "4", "--workers", "0"]
    words += ["--accelerator", "cpu", "--devices", "2", "--precision", "32-true"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("images/s;") == 1
    assert read(tmp_path / "two") == near(read(plan.out))
    job = json.loads((tmp_path / "two" / "_job" / "job.json").read_bytes())
    assert job == json.loads((plan.out / "_job" / "job.json").read_bytes())
