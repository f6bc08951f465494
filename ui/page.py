"""The page: one photo, many photos, and the state of the service, each in a tab."""

import socket
from functools import partial
from importlib import resources
from pathlib import Path
from typing import cast

import gradio as gr
from gradio import http_server

from ui.gateway import Gateway
from ui.settings import Settings
from ui.shelf import PhotoShelf
from ui.tabs.batch import Batch
from ui.tabs.service import Service
from ui.tabs.single import Single

TITLE = "AI product photo detector"
INTRO = f"<h1>{TITLE}</h1><p>Is this product photo a real photograph, or was it made by an image generator?</p>"
# A photo that nobody asks about is deleted after ten minutes; the sweep runs every minute.
SWEEP_S = (60, 600)


def build(gateway: Gateway) -> gr.Blocks:
    """Lay the page out and connect it to the gateway."""
    shelf = PhotoShelf()
    single, batch, service = Single(gateway, shelf), Batch(gateway, shelf), Service(gateway)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=SWEEP_S) as page:
        gr.HTML(INTRO, elem_id="intro", elem_classes="plain")
        key = _key()
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("One photo", id="single"):
                single.build(key)
            with gr.Tab("Many photos", id="batch"):
                batch.build(key)
            with gr.Tab("Service", id="service") as tab:
                service.build(tab)
        page.load(fn=None, js=_asset("page.js").read_text(encoding="utf-8"))
        page.unload(single.leave)
        page.unload(batch.leave)
        return cast("gr.Blocks", page)


def launch(page: gr.Blocks, settings: Settings) -> None:
    """Serve the page in the background: no outside addresses, no API pages, no history in the browser."""
    page.launch(
        server_name=_listening_at(settings),
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


def _listening_at(settings: Settings) -> str:
    """Gradio's own form of the address; `::` stands for both families, as people expect, and asyncio takes one."""
    if settings.host == "::":
        serve = http_server.Server.run
        listening = partial(socket.create_server, ("::", settings.port), family=socket.AF_INET6, dualstack_ipv6=True)
        http_server.Server.run = lambda server: serve(server, [listening()])
    return f"[{settings.host}]" if ":" in settings.host else settings.host


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
