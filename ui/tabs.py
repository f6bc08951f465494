"""The page's two tabs: for one photo its verdict and its heat map, for hundreds a table of verdicts."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from gateway.client import GatewayError, PhotoUnreadableError
from gateway.client.calls import content
from ui import views, wording
from ui.gateway import Gateway, Photo, Run
from ui.photos import PhotoShelf, caller_of, drawn, key_of, size_of, tab_of

# All are photographs: the package carries nothing AI-generated.
PACKAGE = "skimage"
OFFERED = {"Coffee cup": "coffee.png", "Motorcycle": "motorcycle_left.png", "Rocket": "rocket.jpg"}
CHECKS_AT_ONCE = 8
PRIVACY_OF_ONE = (
    '<p class="facts">JPEG, PNG or WebP. The photo is sent unchanged to the service, '
    "and this page deletes it afterwards.</p>"
)
EXAMPLES = '<p class="facts">No photo at hand? These are real photographs:</p>'

PHOTOS_MAX = 1000
BATCHES_AT_ONCE = 8
ROWS_MAX = 10_000  # of all batches that are kept
# An upload that is not here any more fails alone, in its own row.
NOWHERE = Path("/nonexistent")
PRIVACY_OF_MANY = (
    '<p class="facts">JPEG, PNG or WebP. Each photo is sent unchanged to the service, and this page deletes it '
    "once it has a verdict. The table exists only in this tab: download the CSV before closing it.</p>"
)

# New values of the tab's components, in the order of `outputs`.
Change = tuple[Any, ...]


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
                gr.HTML(PRIVACY_OF_ONE, elem_classes="plain")
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


class Batch:
    """The events of a batch, one set for all open tabs."""

    def __init__(self, gateway: Gateway, shelf: PhotoShelf) -> None:
        self._gateway = gateway
        self._shelf = shelf
        self._runs: dict[str, Run] = {}

    def build(self, key: gr.Textbox) -> None:
        """Lay the tab out and connect it."""
        photos = gr.File(label="Product photos", file_count="multiple", type="filepath", height=200, elem_id="photos")
        with gr.Row():
            check = gr.Button("Check photos", variant="primary", interactive=False, elem_id="check-all")
            again = gr.Button("Check again", variant="primary", visible=False, elem_id="again")
            stop = gr.Button("Stop", visible=False, elem_id="stop")
        gr.HTML(PRIVACY_OF_MANY, elem_classes="plain")
        progress = gr.HTML(views.IDLE.format(most=PHOTOS_MAX), elem_id="progress", elem_classes="plain")
        rows = gr.HTML(
            views.NO_TABLE, html_template=views.TABLE, elem_id="table", elem_classes="plain", js_on_load=None
        )
        quiet: dict[str, Any] = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private"}
        photos.change(self.choose, [photos], [check, progress], **quiet)
        outputs = [photos, check, stop, again, progress, rows]
        for button, ask, inputs in ((check, self.check, [photos, key]), (again, self.check_again, [key])):
            button.click(ask, inputs, outputs, concurrency_id="batch", concurrency_limit=BATCHES_AT_ONCE, **quiet)
        stop.click(self.stop, **quiet)

    def choose(self, uploads: list[Any] | None, request: gr.Request) -> tuple[Any, Any]:
        """Keep the photos until they are checked; too many at once are refused here."""
        tab, paths = tab_of(request), [photo.path for photo in self._photos(uploads)]
        self._shelf.keep(_chosen(tab), *paths)  # too many as well, so that they go with the tab
        if len(paths) > PHOTOS_MAX:
            error = wording.TooManyPhotosError(f"You chose {len(paths):,} photos; the limit is {PHOTOS_MAX:,} at once.")
            return gr.update(interactive=False), views.error(error)
        return gr.update(interactive=bool(paths) and not self._busy(tab)), gr.skip()

    async def check(self, uploads: list[Any] | None, key: object, request: gr.Request) -> AsyncIterator[Change]:
        """Check the chosen photos in place of those before."""
        photos = self._photos(uploads)
        if self._busy(tab_of(request)) or len(photos) > PHOTOS_MAX:
            return
        async for change in self._follow(photos, [], key_of(key), request):
            yield change

    async def check_again(self, key: object, request: gr.Request) -> AsyncIterator[Change]:
        """Check those photos once more that the service has not answered for."""
        run = self._runs.get(tab_of(request))
        if run and run.ended:
            settled = [row for row in run.rows if not row.again]
            async for change in self._follow(run.left(), settled, key_of(key), request):
                yield change

    def stop(self, request: gr.Request) -> None:
        """Send no more photos of this tab."""
        if run := self._runs.get(tab_of(request)):
            run.stop()

    def leave(self, request: gr.Request) -> None:
        """Stop the batch of a tab that was closed, and delete what it still holds."""
        self.stop(request)
        self._forget(tab_of(request))
        self._shelf.drop(_chosen(tab_of(request)))

    def _photos(self, uploads: list[Any] | None) -> list[Photo]:
        photos = []
        for number, upload in enumerate(uploads or (), 1):
            try:
                path = self._shelf.find(upload)
            except PhotoUnreadableError:
                path = NOWHERE
            photos.append(Photo(number, upload["orig_name"] or Path(upload["path"]).name, path))
        return photos

    async def _follow(
        self, photos: Sequence[Photo], settled: Sequence[views.Row], key: str, request: gr.Request
    ) -> AsyncIterator[Change]:
        tab = tab_of(request)
        owner = _running(tab)
        run = Run(photos, settled, lambda path: self._shelf.let_go(owner, path))
        self._make_room(run.total)
        self._runs[tab] = run
        self._shelf.keep(owner, *(photo.path for photo in photos))
        self._shelf.drop(_chosen(tab))
        yield None, *self._state(tab, run)
        try:
            async with (
                self._gateway.room_of_batch([size_of(photo.path) for photo in photos]),
                self._gateway.client(key, caller_of(request)) as client,
                aclosing(run.follow(client)) as news,
            ):
                async for _ in news:
                    self._shelf.touch(owner)
                    yield gr.skip(), *self._state(tab, run)
        except GatewayError as error:
            run.give_up(f"{wording.words(error).title}.", error)
            yield gr.skip(), *self._state(tab, run)
        finally:
            # A batch is kept for another try alone.
            if self._runs.get(tab) is run and not (run.ended and run.left()):
                self._forget(tab)

    def _state(self, tab: str, run: Run) -> Change:
        rows, left = run.rows, len(run.left())
        return (
            gr.update(interactive=run.ended and self._shelf.holds(_chosen(tab))),
            gr.update(visible=not run.ended),
            gr.update(visible=run.ended and left > 0, value=f"Check {wording.photos(left)} again"),
            views.progress(rows, total=run.total, ended=run.ended, note=run.note, trouble=run.trouble),
            views.table_of(rows, ended=run.ended) if rows else views.NO_TABLE,
        )

    def _make_room(self, rows: int) -> None:
        for tab in [tab for tab, run in self._runs.items() if run.ended]:
            if sum(run.total for run in self._runs.values()) + rows > ROWS_MAX:
                self._forget(tab)

    def _forget(self, tab: str) -> None:
        self._runs.pop(tab, None)
        self._shelf.drop(_running(tab))

    def _busy(self, tab: str) -> bool:
        run = self._runs.get(tab)
        return run is not None and not run.ended


def _chosen(tab: str) -> str:
    return f"{tab} chosen"


def _running(tab: str) -> str:
    return f"{tab} running"
