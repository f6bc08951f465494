"""The tab for one photo: a place to put it, its verdict, and its heat map."""

import asyncio
import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from gateway.client import GatewayError, PhotoUnreadableError
from gateway.client.calls import content
from ui import views, wording
from ui.gateway import Gateway
from ui.photos import PhotoShelf, caller_of, drawn, key_of, size_of, tab_of

# All are photographs: the package carries nothing AI-generated.
PACKAGE = "skimage"
OFFERED = {"Coffee cup": "coffee.png", "Motorcycle": "motorcycle_left.png", "Rocket": "rocket.jpg"}
CHECKS_AT_ONCE = 8
PRIVACY = (
    '<p class="facts">JPEG, PNG or WebP. The photo is sent unchanged to the service, '
    "and this page deletes it afterwards.</p>"
)
EXAMPLES = '<p class="facts">No photo at hand? These are real photographs:</p>'


def installed() -> dict[str, Path]:
    """The examples that are really there, by label; none where their package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else Path()
    return {label: folder / file for label, file in OFFERED.items() if (folder / file).is_file()}


class Single:
    """The events of one photo, one set for all open tabs."""

    def __init__(self, gateway: Gateway, shelf: PhotoShelf) -> None:
        self._gateway = gateway
        self._shelf = shelf

    def build(self, key: gr.Textbox) -> None:
        """Lay the tab out and connect it."""
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=2, min_width=300):
                photo = gr.Image(
                    label="Product photo",
                    placeholder="Drop a product photo here\nor click to choose one",
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "clipboard", "webcam"],
                    buttons=[],
                    height=320,
                    elem_id="photo",
                )
                button = gr.Button("Check photo", variant="primary", interactive=False, elem_id="check")
                gr.HTML(PRIVACY, elem_classes="plain")
                self._offer(photo)
            with gr.Column(scale=3, min_width=300):
                answer = gr.HTML(views.WELCOME, elem_id="answer", elem_classes="plain")
        # preprocess=False: Gradio would open the image, and fail on a damaged one before the gateway can say why.
        private: dict[str, Any] = {"preprocess": False, "api_visibility": "private"}
        photo.change(self.choose, [photo], [answer, button], show_progress="hidden", **private)
        button.click(
            self.check,
            [photo, key],
            [answer, photo],
            show_progress_on=[answer],
            scroll_to_output=True,
            concurrency_limit=CHECKS_AT_ONCE,
            **private,
        )

    def choose(self, upload: object, request: gr.Request) -> tuple[Any, Any]:
        """Keep the photo and wipe the old answer, or let go of a photo that was taken away."""
        if upload is None:
            self._shelf.drop(tab_of(request))
            return gr.skip(), gr.update(interactive=False)
        try:
            self._shelf.keep(tab_of(request), self._shelf.find(upload))
        except PhotoUnreadableError as error:
            return views.error(error), gr.update(interactive=False)
        return views.WELCOME, gr.update(interactive=True)

    async def check(self, upload: object, key: object, request: gr.Request) -> tuple[str, Any]:
        """Answer with a verdict or an error, and let go of the photo unless it is worth another try."""
        try:
            html = await self._answer(self._shelf.find(upload), key_of(key), caller_of(request))
        except GatewayError as error:
            if wording.may_come(error):
                return views.error(error), gr.skip()
            html = views.error(error)
        self._shelf.drop(tab_of(request))
        return html, None

    def leave(self, request: gr.Request) -> None:
        """Delete the photo of a tab that was closed."""
        self._shelf.drop(tab_of(request))

    async def _answer(self, path: Path, key: str, caller: str) -> str:
        async with self._gateway.room(size_of(path)):
            photo = await asyncio.to_thread(content, path)
            async with self._gateway.client(key, caller) as client:
                answer = await client.explain(photo, evidence=True)
            return views.html("answer", answer=answer, photo=await drawn(photo))

    @staticmethod
    def _offer(photo: gr.Image) -> None:
        if not (offered := installed()):
            return
        gr.HTML(EXAMPLES, elem_classes="plain")
        with gr.Row(elem_id="examples"):
            for label, path in offered.items():
                button = gr.Button(label, size="sm", min_width=80)
                button.click(partial(str, path), outputs=[photo], api_visibility="private")
