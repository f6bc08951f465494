"""Create the secrets that docker/compose.yaml mounts, unless they exist: `python3 -m deploy.secret_files`."""

import hashlib
import json
import secrets
import sys
from pathlib import Path

from deploy.layout import ROOT

FOLDER = ROOT / "docker/secrets"


def main(folder: Path = FOLDER) -> None:
    """Make an API key, the file of its hash for the gateway, and Grafana's password."""
    folder.mkdir(mode=0o700, exist_ok=True)
    key = _kept(folder / "api_key", secrets.token_urlsafe(32))
    hashed = hashlib.sha256(key.encode()).hexdigest()
    _kept(folder / "api_keys.json", json.dumps({"compose": {"sha256": hashed}}))
    _kept(folder / "grafana_admin_password", secrets.token_urlsafe(24))
    sys.stdout.write(f"The secrets are in {folder}: api_key for X-API-Key, grafana_admin_password for the user admin\n")


def _kept(file: Path, fresh: str) -> str:
    if not file.exists():
        file.write_text(fresh, encoding="utf-8")
        # The services' users read it through the mount; on this machine the folder keeps others out.
        file.chmod(0o444)
    return file.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
