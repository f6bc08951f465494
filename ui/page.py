"""The page: a place for the photo, a button, and the answer."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import cast

import gradio as gr

from ui import wording
from ui.client import GatewayClient
from ui.events import Events
from ui.settings import Settings
from ui.shelf import PhotoShelf

TITLE = "AI product photo detector"
INTRO = f"<h1>{TITLE}</h1><p>Is this product photo a real photograph, or was it made by an image generator?</p>"
PRIVACY = (
    '<p class="facts">JPEG, PNG or WebP. The photo goes unchanged to the service that checks it, '
    "and this page deletes it after the answer.</p>"
)
# A photo that nobody asks about is deleted after ten minutes; the sweep runs every minute.
SWEEP_S = (60, 600)
CHECKS_AT_ONCE = 8
# Screen readers speak the answer when it comes.
ANNOUNCE = "() => { document.getElementById('answer')?.setAttribute('aria-live', 'polite'); }"


@dataclass(frozen=True, slots=True)
class Desk:
    """What the reviewer works with."""

    photo: gr.Image
    button: gr.Button
    key: gr.Textbox


def build(client: GatewayClient) -> gr.Blocks:
    """Lay the page out and connect it to the gateway's client."""
    events = Events(client, PhotoShelf())
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=SWEEP_S) as page:
        gr.HTML(INTRO, elem_id="intro")
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=2, min_width=300):
                desk = _desk()
            with gr.Column(scale=3, min_width=300):
                answer = gr.HTML(wording.WELCOME, elem_id="answer")
        _connect(events, desk, answer)
        page.load(fn=None, js=ANNOUNCE)
        page.unload(events.leave)
        return cast("gr.Blocks", page)


def launch(page: gr.Blocks, settings: Settings) -> None:
    """Serve the page in the background: no outside addresses, no API pages, no history in the browser."""
    page.launch(
        server_name=settings.host,
        server_port=settings.port,
        max_file_size=settings.photo_max_bytes,
        favicon_path=str(_asset("favicon.svg")),
        css_paths=[_asset("page.css")],
        theme=_theme(),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        share=False,
        ssr_mode=False,
        pwa=False,
        show_error=False,
        quiet=True,
        prevent_thread_lock=True,
    )


def _desk() -> Desk:
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
    gr.HTML(PRIVACY, elem_id="privacy")
    with gr.Accordion("API key", open=False, elem_id="key-panel"):
        key = gr.Textbox(
            label="API key",
            info="Only if your service asks for one. It stays in this tab and is forgotten when you close it.",
            type="password",
            max_lines=1,
            html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
            elem_id="key",
        )
    return Desk(photo, button, key)


def _connect(events: Events, desk: Desk, answer: gr.HTML) -> None:
    # preprocess=False: Gradio would open the picture, and fail on a damaged one before the gateway can say why.
    desk.photo.change(
        events.choose,
        inputs=[desk.photo],
        outputs=[answer, desk.button],
        preprocess=False,
        show_progress="hidden",
        api_visibility="private",
    )
    desk.button.click(
        events.check,
        inputs=[desk.photo, desk.key],
        outputs=[answer, desk.photo],
        preprocess=False,
        show_progress_on=[answer],
        scroll_to_output=True,
        concurrency_limit=CHECKS_AT_ONCE,
        api_visibility="private",
    )


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
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )


def _asset(name: str) -> Path:
    return Path(str(resources.files("ui") / "assets" / name))
