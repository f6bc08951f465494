"""`keys new`: a key that a gateway takes, and a file that never holds it."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest

from gateway.security import parse_keys
from tests.gateway.command.conftest import Command

KEYS = Path("keys.json")


def digests() -> list[tuple[str, bytes, dict[str, int]]]:
    return [(key.id, key.digest, dict(key.rates)) for key in parse_keys(KEYS.read_bytes())]


def digest(key: str) -> bytes:
    return hashlib.sha256(key.strip().encode()).digest()


def test_a_key_alone_goes_to_stdout_and_its_entry_to_stderr(command: Command) -> None:
    ended = command("keys", "new", "shop", "--predict", "120")
    entry = ended.err.splitlines()[0].removeprefix("for the file of API_KEYS_FILE: ")
    (key,) = parse_keys(entry.encode())
    assert (key.id, key.digest, key.rates) == ("shop", digest(ended.out), {"predict": 120})
    assert ended.out.startswith("ppd_")
    assert len(ended.out.strip()) == 47
    assert ended.out.strip() not in ended.err


def test_a_key_is_added_to_a_file_that_keeps_its_other_keys_and_its_rights(command: Command) -> None:
    KEYS.write_text('{"ci": {"key": "in-the-clear"}}')
    KEYS.chmod(0o640)
    ended = command("keys", "new", "shop", "--file", "keys.json", "--batch", "20", "--explain", "40")
    assert digests() == [
        ("ci", digest("in-the-clear"), {}),
        ("shop", digest(ended.out), {"batch": 20, "explain": 40}),
    ]
    assert stat.S_IMODE(KEYS.stat().st_mode) == 0o640
    assert ended.err == "shop is in keys.json; a gateway with API_KEYS_FILE=keys.json takes its key now\n"
    assert [path.name for path in Path().iterdir()] == ["keys.json"]


def test_a_new_file_is_its_owners_alone_and_a_link_stays_a_link(command: Command) -> None:
    Path("link.json").symlink_to("keys.json")
    ended = command("keys", "new", "shop", "--file", "link.json")
    assert digests() == [("shop", digest(ended.out), {})]
    assert stat.S_IMODE(KEYS.stat().st_mode) == 0o600
    assert Path("link.json").is_symlink()


@pytest.mark.parametrize(
    "entry",
    [
        {"sha256": digest("old").hex()},
        {"key": "old"},
        {"sha256": [digest("old").hex()], "rates": {"predict": 7}},
    ],
)
def test_rotation_adds_a_second_key_of_the_same_client(command: Command, entry: dict[str, object]) -> None:
    KEYS.write_text(json.dumps({"shop": entry}))
    ended = command("keys", "new", "shop", "--file", "keys.json", "--rotate")
    rates = entry.get("rates", {})
    assert digests() == [("shop", digest("old"), rates), ("shop", digest(ended.out), rates)]


def test_a_client_that_has_a_key_keeps_it_unless_told_otherwise(command: Command) -> None:
    KEYS.write_text(text := '{"shop": {"key": "old"}}')
    ended = command("keys", "new", "shop", "--file", "keys.json")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "product-photo-detector: shop already has a key: use --rotate to add another, or choose another name\n"
    )
    assert KEYS.read_text() == text


@pytest.mark.parametrize("text", ["", "[]", '{"shop": "secret"}', "{", "\xff"])
def test_a_file_of_another_kind_is_left_alone(command: Command, text: str) -> None:
    KEYS.write_text(text, encoding="latin-1")
    ended = command("keys", "new", "other", "--file", "keys.json")
    assert (ended.code, "secret" in ended.err) == (2, False)
    assert KEYS.read_text(encoding="latin-1") == text


@pytest.mark.parametrize("words", [["two words"], ["x" * 65], ["é"], ["shop", "--predict", "0"], []])
def test_what_the_gateway_would_not_take_is_refused_here(command: Command, words: list[str]) -> None:
    assert command("keys", "new", *words).code == 2
