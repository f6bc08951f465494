"""Who uses the page: Gradio's requests and uploads, read in one place."""

from pathlib import Path
from typing import Any

import gradio as gr


def tab_of(request: gr.Request) -> str:
    """The open browser tab."""
    return request.session_hash or ""


def caller_of(request: gr.Request) -> str:
    """The reviewer's address, for the gateway's rates."""
    return request.client.host if request.client else ""


def name_of(upload: Any) -> str:  # noqa: ANN401  # a browser's word
    """The name that the reviewer's own file has."""
    return str(upload["orig_name"] or Path(upload["path"]).name)


def key_of(key: Any) -> str:  # noqa: ANN401
    """The API key in the page's field."""
    return key if isinstance(key, str) else ""


def size_of(photo: Path) -> int:
    """How large a file is; nothing where it is gone."""
    return photo.stat().st_size if photo.is_file() else 0
