"""What happens when a reviewer chooses a photo, asks for a verdict, or leaves."""

from pathlib import Path
from typing import Any

import gradio as gr

from ui import wording
from ui.client import GatewayClient
from ui.errors import CheckError, PhotoGone, PhotoRefused
from ui.preview import NoPreview, upright_jpeg
from ui.shelf import PhotoShelf

# Gradio's description of an upload: a JSON object whose "path" it has found to lie in the upload folder.
Upload = dict[str, Any] | None


class Events:
    """The page's event handlers, one set for all open tabs."""

    def __init__(self, client: GatewayClient, shelf: PhotoShelf) -> None:
        self._client = client
        self._shelf = shelf

    def choose(self, upload: Upload, request: gr.Request) -> tuple[Any, Any]:
        """Keep the photo and wipe the old answer, or let go of a photo that was taken away."""
        if upload is None:
            self._shelf.drop(_tab(request))
            return gr.skip(), gr.update(interactive=False)
        self._shelf.keep(_tab(request), Path(upload["path"]))
        return wording.WELCOME, gr.update(interactive=True)

    def check(self, upload: Upload, key: str | None, request: gr.Request) -> tuple[str, Any]:
        """Answer with a verdict or an error, and let go of the photo unless it is worth another try."""
        try:
            html = self._answer(_read(upload), key or "", _caller(request))
        except CheckError as error:
            if error.again:
                return wording.error_html(error), gr.skip()
            html = wording.error_html(error)
        self._shelf.drop(_tab(request))
        return html, None

    def leave(self, request: gr.Request) -> None:
        """Delete the photo of a tab that was closed."""
        self._shelf.drop(_tab(request))

    def _answer(self, photo: bytes, key: str, caller: str) -> str:
        answer = self._client.explain(photo, key=key, caller=caller)
        try:
            return wording.answer_html(answer, upright_jpeg(photo))
        except NoPreview:
            return wording.answer_html(answer, None)


def _read(upload: Upload) -> bytes:
    if upload is None:
        raise PhotoRefused("No photo was chosen.")
    try:
        return Path(upload["path"]).read_bytes()
    except OSError as error:
        raise PhotoGone from error


def _tab(request: gr.Request) -> str:
    return request.session_hash or ""


def _caller(request: gr.Request) -> str:
    return request.client.host if request.client else ""
