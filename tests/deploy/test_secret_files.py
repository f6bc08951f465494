from __future__ import annotations

import hashlib
import json
from pathlib import Path

from deploy.secret_files import main


def test_secrets_are_made_once_for_their_services_and_the_gateways_file_holds_the_keys_hash_alone(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "secrets"
    main(folder)
    before = {file.name: file.read_text() for file in folder.iterdir()}
    assert len(before["api_key"]) == 43
    hashed = hashlib.sha256(before["api_key"].encode()).hexdigest()
    assert json.loads(before["api_keys.json"]) == {"compose": {"sha256": hashed}}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o444}
    (folder / "api_keys.json").unlink()
    main(folder)
    assert {file.name: file.read_text() for file in folder.iterdir()} == before
