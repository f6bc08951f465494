"""The tab for one photo: a place to put it, its verdict, and its heat map."""

import asyncio
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from gateway.client import GatewayError, PhotoRefusedError, PhotoUnreadableError
from gateway.client.calls import content
from ui import cards, wording
from ui.gateway import Gateway
from ui.photos import PhotoShelf, caller_of, drawn, key_of, size_of, tab_of

# (label, package, file). All are photographs: the packages carry nothing AI-generated.
OFFERED = (
    ("Coffee cup", "skimage", "data/coffee.png"),
    ("Motorcycle", "skimage", "data/motorcycle_left.png"),
    ("Rocket", "skimage", "data/rocket.jpg"),
)
CHECKS_AT_ONCE = 8
PRIVACY = (
    '<p class="facts">JPEG, PNG or WebP. The photo is sent unchanged to the service, '
    "and this page deletes it afterwards.</p>"
)
EXAMPLES = '<p class="facts">No photo at hand? These are real photographs:</p>'


@dataclass(frozen=True, slots=True)
class Example:
    """A photo on this machine's disk, with its label."""

    label: str
    path: Path


def installed() -> tuple[Example, ...]:
    """The examples that are really there; none where their packages are not installed."""
    return tuple(_found())


def _found() -> Iterator[Example]:
    for label, package, file in OFFERED:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        path = Path(spec.origin).parent / file
        if path.is_file():
            yield Example(label, path)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the reviewer works with."""

    photo: gr.Image
    button: gr.Button
    answer: gr.HTML
    examples: tuple[tuple[gr.Button, Path], ...]


class Single:
    """The events of one photo, one set for all open tabs."""

    def __init__(self, gateway: Gateway, shelf: PhotoShelf) -> None:
        self._gateway = gateway
        self._shelf = shelf

    def build(self, key: gr.Textbox) -> None:
        """Lay the tab out and connect it."""
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=2, min_width=300):
                photo, button, offered = _desk()
            with gr.Column(scale=3, min_width=300):
                answer = gr.HTML(cards.WELCOME, elem_id="answer", elem_classes="plain")
        self._connect(Desk(photo, button, answer, offered), key)

    def choose(self, upload: object, request: gr.Request) -> tuple[Any, Any]:
        """Keep the photo and wipe the old answer, or let go of a photo that was taken away."""
        if upload is None:
            self._shelf.drop(tab_of(request))
            return gr.skip(), gr.update(interactive=False)
        try:
            self._shelf.keep(tab_of(request), self._shelf.find(upload))
        except PhotoUnreadableError as error:
            return cards.error_html(error), gr.update(interactive=False)
        return cards.WELCOME, gr.update(interactive=True)

    async def check(self, upload: object, key: object, request: gr.Request) -> tuple[str, Any]:
        """Answer with a verdict or an error, and let go of the photo unless it is worth another try."""
        try:
            html = await self._answer(self._find(upload), key_of(key), caller_of(request))
        except GatewayError as error:
            if wording.may_come(error):
                return cards.error_html(error), gr.skip()
            html = cards.error_html(error)
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
            return cards.answer_html(answer, await drawn(photo))

    def _find(self, upload: object) -> Path:
        if upload is None:
            raise PhotoRefusedError("No photo was chosen.")
        return self._shelf.find(upload)

    def _connect(self, desk: Desk, key: gr.Textbox) -> None:
        # preprocess=False: Gradio would open the picture, and fail on a damaged one before the gateway can say why.
        desk.photo.change(
            self.choose,
            inputs=[desk.photo],
            outputs=[desk.answer, desk.button],
            preprocess=False,
            show_progress="hidden",
            api_visibility="private",
        )
        desk.button.click(
            self.check,
            inputs=[desk.photo, key],
            outputs=[desk.answer, desk.photo],
            preprocess=False,
            show_progress_on=[desk.answer],
            scroll_to_output=True,
            concurrency_limit=CHECKS_AT_ONCE,
            api_visibility="private",
        )
        for button, path in desk.examples:
            button.click(partial(str, path), outputs=[desk.photo], api_visibility="private")


def _desk() -> tuple[gr.Image, gr.Button, tuple[tuple[gr.Button, Path], ...]]:
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
    offered = installed()
    if not offered:
        return photo, button, ()
    gr.HTML(EXAMPLES, elem_classes="plain")
    with gr.Row(elem_id="examples"):
        return photo, button, tuple((gr.Button(one.label, size="sm", min_width=80), one.path) for one in offered)
