"""`check`: what it predicts, how it ends, and what it never shows."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path

import httpx
import pytest

from tests.gateway.client.wire import Gateway, batch, refusal, verdict
from tests.gateway.command.conftest import Command

CSV_HEADER = "photo,prediction,probability,confidence,inference_time_ms,model_version,heatmap,evidence,code,error\n"
HEATMAP = "/9j/4AAQ"


def cells(out: str) -> list[list[str]]:
    """The rows of a table as it is drawn."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]


def test_a_photo_is_predicted_into_a_table(check: Command, service: Gateway) -> None:
    Path("photo.jpg").write_bytes(b"87")
    ended = check("photo.jpg")
    assert cells(ended.out) == [["photo.jpg", "AI-generated", "0.8700", "high"]]
    assert (ended.code, ended.err) == (0, "1 photo: 1 ai_generated, 0 real\n")
    assert service.asked == [("/predict", [b"87"])]


def test_a_folder_is_predicted_by_name_and_a_broken_photo_ends_with_3(
    check: Command, listings: Path, service: Gateway
) -> None:
    ended = check("listings")
    assert [row[:2] for row in cells(ended.out)] == [
        ["listings/a.png", "real"],
        ["listings/b.JPG", "AI-generated"],
        [
            "listings/more/c.webp",
            "no prediction: Supported formats: JPEG, PNG, WebP. Got: unknown",
        ],
    ]
    assert (ended.code, ended.err) == (3, "3 photos: 1 ai_generated, 1 real, 1 without a prediction\n")
    assert service.asked == [("/predict/batch", [b"12", b"87", b"broken"])]
    assert listings.is_dir()


def test_csv_has_a_row_a_photo_in_order(check: Command, listings: Path) -> None:
    ended = check(str(listings), "missing.jpg", "--csv")
    assert ended.out == CSV_HEADER + (
        f"{listings}/a.png,real,0.12,high,,1.0.0,,,,\n"
        f"{listings}/b.JPG,ai_generated,0.87,high,,1.0.0,,,,\n"
        f'{listings}/more/c.webp,,,,,,,,invalid_image_format,"Supported formats: JPEG, PNG, WebP. Got: unknown"\n'
        "missing.jpg,,,,,,,,unreadable,No such file or directory\n"
    )
    assert ended.code == 3


def test_json_is_an_object_a_line(check: Command, service: Gateway) -> None:
    Path("one.jpg").write_bytes(b"87")
    found = [{"type": "generator_software", "value": "DALL-E", "strength": "weak"}]
    service.first = [httpx.Response(200, json=verdict(b"87", evidence=found)), refusal(400, "corrupt_image")]
    ended = check("one.jpg", "one.jpg", "--json", "--evidence")
    first, second = (json.loads(line) for line in ended.out.splitlines())
    assert first == {
        "photo": "one.jpg",
        "prediction": "ai_generated",
        "probability": 0.87,
        "confidence": "high",
        "inference_time_ms": 45.2,
        "model_version": "1.0.0",
        "heatmap": None,
        "evidence": found,
        "code": None,
        "error": None,
    }
    assert {name: value for name, value in second.items() if value} == {
        "photo": "one.jpg",
        "code": "corrupt_image",
        "error": "Because.",
    }


def test_heat_maps_get_names_of_their_own_in_a_new_folder(check: Command, service: Gateway, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cup.jpg").write_bytes(b"87")
    (tmp_path / "cup.png").write_bytes(b"broken")
    explained = httpx.Response(200, json=verdict(b"87", heatmap_base64=HEATMAP))
    service.first = [explained, refusal(400, "corrupt_image"), explained]
    ended = check("one/cup.jpg", "cup.png", "two/cup.jpg", "--explain", "out/maps")
    assert [row[4] for row in cells(ended.out)] == ["out/maps/cup-heatmap.jpg", "", "out/maps/cup-heatmap-2.jpg"]
    assert [path.read_bytes()[:2] for path in sorted((tmp_path / "out/maps").iterdir())] == [b"\xff\xd8"] * 2
    assert [path for path, _ in service.asked] == ["/predict/explain"] * 3


def test_a_folder_for_heat_maps_that_cannot_be_made_is_one_line(check: Command) -> None:
    Path("photo.jpg").write_bytes(b"87")
    ended = check("photo.jpg", "--explain", "photo.jpg/out")
    assert (ended.code, ended.err) == (
        2,
        "product-photo-detector: Not a directory: free some space or fix the permissions, then try again\n",
    )


@pytest.mark.parametrize(
    ("photos", "options", "code"),
    [
        ([b"12"], [], 0),
        ([b"87"], [], 0),
        ([b"12"], ["--fail-on", "ai_generated"], 0),
        ([b"12", b"87"], ["--fail-on", "ai_generated"], 1),
        ([b"12", b"broken"], ["--fail-on", "ai_generated"], 3),
        ([b"broken", b"87"], ["--fail-on", "ai_generated"], 1),
    ],
)
def test_the_exit_code_tells_a_script(check: Command, photos: list[bytes], options: list[str], code: int) -> None:
    for number, content in enumerate(photos):
        Path(f"{number}.jpg").write_bytes(content)
    assert check("*.jpg", *options).code == code


def test_a_service_that_is_not_there_is_told_before_any_photo(command: Command) -> None:
    Path("photo.jpg").write_bytes(b"87")
    ended = command("check", "photo.jpg", "--url", "http://user:secret@127.0.0.1:1")
    assert (ended.code, ended.out) == (4, "")
    assert ended.err == (
        "The gateway does not answer. Check that it runs and that the address is right, then try again. "
        "The address is http://127.0.0.1:1.\n"
    )


def test_a_service_that_stays_busy_ends_with_4_and_with_all_other_verdicts(check: Command, service: Gateway) -> None:
    for number in range(4):
        Path(f"{number}.jpg").write_bytes(b"12")
    service.first = [httpx.Response(200, json=batch([b"12"] * 2)), refusal(503, "service_unavailable")]
    ended = check("*.jpg", "--batch-size", "2", "--patience", "0.1", "--json")
    assert [json.loads(line)["code"] for line in ended.out.splitlines()] == [
        None,
        None,
        "service_unavailable",
        "service_unavailable",
    ]
    assert ended.code == 4
    assert ended.err == (
        "4 photos: 0 ai_generated, 2 real, 2 without a prediction\n"
        "The service is not ready: Because. It may be starting or busy: try again in a moment.\n"
    )


def test_a_wait_is_told_and_quiet_says_nothing(
    check: Command, service: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep(_: float) -> None: ...

    monkeypatch.setattr(asyncio, "sleep", sleep)
    Path("photo.jpg").write_bytes(b"12")
    busy = refusal(429, "rate_limited", **{"Retry-After": "25"})
    service.first = [busy]
    assert check("photo.jpg").err == (
        "waiting 25 s: too many requests in a short time\n1 photo: 0 ai_generated, 1 real\n"
    )
    service.first = [busy]
    assert check("photo.jpg", "--quiet").err == ""


def test_a_refused_key_ends_with_5(check: Command, service: Gateway) -> None:
    Path("photo.jpg").write_bytes(b"12")
    service.first = [refusal(401, "unauthorized", "Missing or invalid API key")]
    ended = check("photo.jpg", "--json")
    assert ended.code == 5
    assert ended.err.splitlines()[1] == (
        "The API key was refused: Missing or invalid API key. Use a valid key, or ask the service's operator for one."
    )


def test_the_key_comes_from_the_environment_or_a_file(
    check: Command, service: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in {"photo.jpg": b"12", "given.key": b"given\n", "named.key": b"named\r\nmore"}.items():
        Path(name).write_bytes(content)
    check("photo.jpg")
    monkeypatch.setenv("DETECTOR_API_KEY_FILE", "named.key")
    check("photo.jpg")
    monkeypatch.setenv("DETECTOR_API_KEY", "from-environment")
    check("photo.jpg")
    check("photo.jpg", "--api-key-file", "given.key")
    assert service.keys == [None, "named", "from-environment", "given"]


def test_a_key_file_that_is_not_there_is_one_line(check: Command) -> None:
    ended = check("photo.jpg", "--api-key-file", "nowhere.key")
    assert (ended.code, ended.err) == (
        2,
        "product-photo-detector: the file of the API key cannot be read: see that it is there and holds a key\n",
    )


def test_the_address_comes_from_the_environment_too(
    command: Command, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("photo.jpg").write_bytes(b"12")
    monkeypatch.setenv("DETECTOR_URL", url)
    assert command("check", "photo.jpg").code == 0
    monkeypatch.setenv("DETECTOR_URL", "nonsense")
    ended = command("check", "photo.jpg")
    assert (ended.code, ended.err) == (
        2,
        "product-photo-detector: --url: not an address of a gateway: write it like http://127.0.0.1:8080\n",
    )


@pytest.mark.parametrize(
    "words",
    [[], ["--batch-size", "0"], ["--timeout", "nan"], ["--patience", "-1"], ["--json", "--csv"], ["--api-key", "x"]],
)
def test_wrong_words_end_with_2(command: Command, words: list[str]) -> None:
    photos = ["photo.jpg"] if words else []
    assert command("check", *photos, *words).code == 2


def test_a_files_name_cannot_move_the_terminal_or_start_a_formula(check: Command) -> None:
    evil = "=cmd|x!\x1b[2J.jpg"
    Path(evil).write_bytes(b"12")
    assert cells(check(evil).out)[0][0] == "=cmd|x!\N{REPLACEMENT CHARACTER}[2J.jpg"
    (_, row) = csv.reader(io.StringIO(check(evil, "--csv").out))
    assert row[0] == f"./{evil}"
    assert Path(row[0]).read_bytes() == b"12"


def test_a_table_into_a_file_is_as_wide_as_its_longest_name(check: Command) -> None:
    name = "x" * 200 + ".jpg"
    Path(name).write_bytes(b"12")
    ended = check(name)
    assert cells(ended.out)[0][0] == name
    assert "\x1b" not in ended.out
