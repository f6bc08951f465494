"""The tab for the service itself: health, live version, and drift."""

import asyncio

import gradio as gr

from ui import cards
from ui.errors import CheckError
from ui.gateway import Gateway
from ui.report import State, state_html
from ui.tabs.visitor import caller_of

WAITING = '<div class="card quiet"><h2>Asking the service</h2><p>Press Refresh if nothing appears.</p></div>'


class Service:
    """The events of the tab; nothing of it needs an API key."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def build(self, tab: gr.Tab) -> None:
        """Lay the tab out and ask whenever it is opened or refreshed."""
        refresh = gr.Button("Refresh", elem_id="refresh")
        report = gr.HTML(WAITING, elem_id="report", elem_classes="plain")
        for event in (tab.select, refresh.click):
            event(self.ask, outputs=[report], show_progress="hidden", api_visibility="private")

    async def ask(self, request: gr.Request) -> str:
        """Show the service's state, or why it is unknown."""
        try:
            async with self._gateway.client(caller=caller_of(request)) as client:
                health, ready, drift = await asyncio.gather(
                    client.health(model=True), client.ready(), client.drift(histogram=True)
                )
        except CheckError as error:
            return cards.error_html(error, error.remedy)
        return state_html(State(health, ready, drift))
