from __future__ import annotations

import hashlib
import json
from pathlib import Path

from deploy.secret_files import main


def test_the_gateways_file_holds_the_keys_hash_and_not_the_key(tmp_path: Path) -> None:
    main(tmp_path / "secrets")
    key = (tmp_path / "secrets/api_key").read_text()
    assert len(key) == 43
    assert json.loads((tmp_path / "secrets/api_keys.json").read_text()) == {
        "compose": {"sha256": hashlib.sha256(key.encode()).hexdigest()}
    }


def test_secrets_that_are_there_are_kept(tmp_path: Path) -> None:
    main(tmp_path)
    before = {file.name: file.read_text() for file in tmp_path.iterdir()}
    (tmp_path / "api_keys.json").unlink()
    main(tmp_path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == before


def test_only_the_owner_opens_the_folder_and_the_services_read_the_files(tmp_path: Path) -> None:
    main(tmp_path / "secrets")
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "secrets").iterdir()} == {0o444}
