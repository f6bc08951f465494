"""Words to photos: files, folders, patterns and standard input."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from gateway.command.check import Source, find
from gateway.command.options import CommandError


class Stdin(io.TextIOWrapper):
    def __init__(self, data: bytes, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data))
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def names(*words: str) -> list[str]:
    return [source.name for source in find(words)]


def test_a_folder_gives_its_photos_in_order_and_nothing_hidden(listings: Path) -> None:
    assert names("listings") == ["listings/a.png", "listings/b.JPG", "listings/more/c.webp"]
    assert names(str(listings)) == [f"{listings}/a.png", f"{listings}/b.JPG", f"{listings}/more/c.webp"]


def test_a_pipe_in_a_folder_is_left_out_and_told(listings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(listings / "pipe.jpg")
    assert names("listings") == ["listings/a.png", "listings/b.JPG", "listings/more/c.webp"]
    assert capsys.readouterr().err == "skipped listings/pipe.jpg: neither a file nor a folder\n"


def test_a_file_is_taken_whatever_its_name_is(listings: Path) -> None:
    (listings / "odd[1].gif").write_bytes(b"x")
    assert names("listings/odd[1].gif", "missing.jpg", "listings/a.png") == [
        "listings/odd[1].gif",
        "missing.jpg",
        "listings/a.png",
    ]


@pytest.mark.parametrize("word", ["listings/.thumbnails/deep", "*.tiff"])
def test_a_folder_or_a_pattern_without_photos_is_a_mistake(listings: Path, word: str) -> None:
    (listings / ".thumbnails" / "deep").mkdir()
    with pytest.raises(CommandError, match=r"^no photo in "):
        find([word])


def test_a_dash_is_a_photo_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(b"\x00photo"))
    assert find(["-", "other.jpg"]) == [Source("-", b"\x00photo"), Source("other.jpg", Path("other.jpg"))]


@pytest.mark.parametrize("stdin", [Stdin(b""), Stdin(b"photo", terminal=True)])
def test_standard_input_without_a_photo_is_a_mistake(monkeypatch: pytest.MonkeyPatch, stdin: Stdin) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(CommandError, match=r"^standard input is empty"):
        find(["-"])


def test_standard_input_is_there_once() -> None:
    with pytest.raises(CommandError, match="only once"):
        find(["-", "-"])
