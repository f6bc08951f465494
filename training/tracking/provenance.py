"""What a run was made of: parameters, code, data and libraries; nothing about the machine or its user."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import version

from pydantic import TypeAdapter

from training.params import Params


def flat(params: Params) -> dict[str, str]:
    """Return every parameter as `section.key` with its value in JSON; strings stay as they are."""
    sections = TypeAdapter(Params).dump_python(params, mode="json")
    return {
        f"{section}.{key}": value if isinstance(value, str) else json.dumps(value)
        for section, values in sections.items()
        for key, value in values.items()
    }


def tags(params: Params) -> dict[str, str]:
    """Return the revision of the code, the hash of the data, and the versions of Python, torch and Lightning."""
    versions = {name: version(name) for name in ("torch", "pytorch-lightning")}
    return git_tags() | data_tag(params) | versions | {"python": platform.python_version()}


def git_tags() -> dict[str, str]:
    """Return the working directory's commit, and whether tracked files differ from it; nothing outside of Git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    except (FileNotFoundError, subprocess.CalledProcessError):
        return {}
    commit, dash, _ = done.stdout.strip().partition("-")
    return {"mlflow.source.git.commit": commit, "git_dirty": "true" if dash else "false"}


def data_tag(params: Params) -> dict[str, str]:
    """Return the hash of the data as a tag; nothing where there are none yet."""
    manifest = data_hash(params)
    return {} if manifest is None else {"data_hash": manifest}


def data_hash(params: Params) -> str | None:
    """Return the SHA-256 of the manifest, which names every image; None without a manifest."""
    manifest = params.data.root / params.data.manifest
    return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else None


def follows_another_process() -> bool:
    """Return whether this is a training process other than the first, by what Lightning's launchers set."""
    return any(int(os.environ.get(name, "0")) > 0 for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"))
