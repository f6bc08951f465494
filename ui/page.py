"""The page: one photo, many photos, and the state of the service, each in a tab."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any, cast

import gradio as gr
from fastapi import FastAPI
from starlette.types import ASGIApp

from gateway.client import GatewayError
from ui import views, wording
from ui.gateway import Gateway
from ui.guard import EVENTS_AT_ONCE, EVENTS_WAITING_MAX, STATES_MAX, Guard, Sessions
from ui.photos import PhotoShelf, caller_of
from ui.settings import Settings
from ui.tabs import Batch, Single

TITLE = "AI product photo detector"
INTRO = f"<h1>{TITLE}</h1><p>Is this product photo a real photograph, or was it made by an image generator?</p>"
WAITING = '<div class="card quiet"><h2>Asking the service</h2><p>Press Refresh if nothing appears.</p></div>'
SWEEP_S = 60.0
FORGET_S = 10.0


class Page(gr.Blocks):
    """Gradio's blocks, but for what Gradio does by itself with the files and addresses that a browser names."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *_: object, **__: object) -> list[Any]:  # noqa: ANN401
        """Hand an event's inputs on as they are: `PhotoShelf.find` is the only one that takes them for files."""
        self.validate_inputs(block_fn, inputs)
        # No value more than the event has; and a copy, to which Gradio adds the request.
        return inputs[: len(block_fn.inputs)]


def application(gateway: Gateway, settings: Settings, folder: Path) -> ASGIApp:
    """The page as an ASGI application; `folder` is where Gradio puts uploads."""
    shelf = PhotoShelf(folder, settings.photo_max_bytes, settings.photos_max_bytes)
    page = build(gateway, shelf)
    sessions = Sessions(page)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            chores = [
                tasks.create_task(_every(SWEEP_S, lambda: asyncio.to_thread(shelf.sweep))),
                tasks.create_task(_every(FORGET_S, sessions.forget)),
            ]
            yield
            for chore in chores:
                chore.cancel()

    outer = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    return Guard(_mounted(outer, page, settings), page, sessions, shelf, settings)


async def _every(seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await chore()


def build(gateway: Gateway, shelf: PhotoShelf) -> gr.Blocks:
    """Lay the page out and connect it to the gateway."""
    single, batch = Single(gateway, shelf), Batch(gateway, shelf)
    with Page(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(INTRO, elem_id="intro", elem_classes="plain")
        key = _key()
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("One photo", id="single"):
                single.build(key)
            with gr.Tab("Many photos", id="batch"):
                batch.build(key)
            with gr.Tab("Service", id="service") as tab:
                _service(gateway, tab)
        page.load(fn=None, js=_asset("page.js").read_text(encoding="utf-8"))
        page.unload(single.leave)
        page.unload(batch.leave)
    page.queue(max_size=EVENTS_WAITING_MAX, default_concurrency_limit=EVENTS_AT_ONCE)
    page.state_session_capacity = STATES_MAX
    return cast("gr.Blocks", page)


def _mounted(outer: FastAPI, page: gr.Blocks, settings: Settings) -> ASGIApp:
    # No outside addresses, no API pages, no history in the browser.
    mounted: ASGIApp = gr.mount_gradio_app(
        outer,
        page,
        path="/",
        root_path=settings.root_path or None,
        max_file_size=settings.photo_max_bytes,
        favicon_path=str(_asset("favicon.svg")),
        css_paths=[_asset("page.css")],
        theme=_theme(),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        show_error=False,
    )
    return mounted


def _key() -> gr.Textbox:
    with gr.Accordion("API key", open=False, elem_id="key-panel"):
        return gr.Textbox(
            label="API key",
            info="Only if your service asks for one. It stays in this tab and is forgotten when you close it.",
            type="password",
            max_lines=1,
            html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
            elem_id="key",
        )


def _service(gateway: Gateway, tab: gr.Tab) -> None:
    """Lay out the tab for the service itself; nothing of it needs an API key."""
    refresh = gr.Button("Refresh", elem_id="refresh")
    report = gr.HTML(WAITING, elem_id="report", elem_classes="plain")

    async def ask(request: gr.Request) -> str:
        try:
            async with gateway.client(caller=caller_of(request)) as client:
                health, ready, drift = await asyncio.gather(
                    client.health(model=True), client.ready(), client.drift(histogram=True)
                )
        except GatewayError as error:
            return views.error(error, wording.words(error).remedy)
        return views.html("service", health=health, ready=ready, drift=drift)

    for event in (tab.select, refresh.click):
        event(ask, outputs=[report], show_progress="hidden", api_visibility="private")


def _theme() -> gr.themes.Base:
    # Fonts of the reader's own machine, and greys with enough contrast for small print.
    return gr.themes.Default(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="lg",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        link_text_color_dark="*secondary_300",
        link_text_color_hover_dark="*secondary_200",
        link_text_color_visited_dark="*secondary_300",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )


def _asset(name: str) -> Path:
    return Path(str(resources.files("ui") / "assets" / name))
