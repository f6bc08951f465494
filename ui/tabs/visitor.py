"""Who uses the page: Gradio's requests and uploads, read in one place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

# Gradio's description of an upload: a JSON object whose "path" it has found to lie in the upload folder.
Upload = dict[str, Any]


def tab_of(request: gr.Request) -> str:
    """The open browser tab."""
    return request.session_hash or ""


def caller_of(request: gr.Request) -> str:
    """The reviewer's address, for the gateway's rates."""
    return request.client.host if request.client else ""


def path_of(upload: Upload) -> Path:
    """Where an upload lies."""
    return Path(upload["path"])


def name_of(upload: Upload) -> str:
    """The name that the reviewer's own file has."""
    return str(upload.get("orig_name") or path_of(upload).name)


def paths_of(uploads: Sequence[Upload] | None) -> list[Path]:
    """Where several uploads lie."""
    return [path_of(upload) for upload in uploads or ()]
