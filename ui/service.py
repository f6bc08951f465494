"""The tab for the service itself: health, live version, and drift."""

import asyncio
from html import escape
from itertools import pairwise

import gradio as gr

from gateway.client import Drift, DriftCheck, DriftHistogram, GatewayError, Health
from ui import cards, wording
from ui.gateway import Gateway
from ui.photos import caller_of

SERIES = {"reference": "Reference", "current": "Newest predictions"}
STATUSES = {
    "monitoring": ("No drift", "The newest photos and scores look like those that the model was calibrated on."),
    "collecting": ("Not enough predictions yet", "Drift is checked once there are enough predictions."),
    "other_version": ("Not compared", "The reference belongs to another version of the model. Ship both together."),
    "no_reference": ("Not compared", "The service has no reference statistics. Ship them with the model."),
}
DRIFT = (
    "Drift: something has changed",
    "Look at the checks over their threshold, then check a sample of recent photos by eye.",
)
WAITING = '<div class="card quiet"><h2>Asking the service</h2><p>Press Refresh if nothing appears.</p></div>'


def histogram_html(histogram: DriftHistogram) -> str:
    """Show both distributions bin by bin, each share with a bar; a distribution that is not there is left out."""
    series = {
        name: shares
        for name, shares in (("reference", histogram.reference), ("current", histogram.current))
        if shares is not None
    }
    if not series:
        return '<p class="facts">There are no scores to plot yet.</p>'
    highest = max(max(shares) for shares in series.values()) or 1
    rows = "".join(
        f'<tr><th scope="row">{low:.0%} to {high:.0%}</th>'
        + "".join(_share(name, shares[number], highest) for name, shares in series.items())
        + "</tr>"
        for number, (low, high) in enumerate(pairwise(histogram.edges))
    )
    head = "".join(f'<th scope="col">{SERIES[name]}</th>' for name in series)
    return (
        '<table class="chart"><caption>How often each probability of AI generation came up</caption>'
        f'<thead><tr><th scope="col">Score</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _share(name: str, share: float, highest: float) -> str:
    return f'<td>{share:.1%}<span class="{name}" style="width:{share / highest:.0%}"></span></td>'


def state_html(health: Health, drift: Drift, *, ready: bool) -> str:
    """Show health, live version and drift."""
    return _health(health, ready=ready) + _drift(drift)


def _health(health: Health, *, ready: bool) -> str:
    look, title = ("real", "The service is ready") if ready else ("trouble", "The service is not ready")
    advice = (
        ""
        if ready
        else "<p>It may be starting or busy. Refresh in a moment; if that does not help, tell the operator.</p>"
    )
    facts = {
        "Health": health.status,
        "Ready for photos": "yes" if ready else "no",
        "Live model version": health.model_version,
        "Running for": wording.uptime(health.uptime_seconds),
        "Predictions since start-up": f"{health.predictions_total:,}",
        "Predictions in progress": f"{health.active_requests:,}",
    }
    if health.model:
        facts["Share of AI-generated photos that probabilities assume"] = f"{health.model.base_rate:.1%}"
    return f'<div class="card {look}" id="health-card"><h2>{title}</h2>{advice}{_facts(facts)}</div>'


def _drift(drift: Drift) -> str:
    title, advice = DRIFT if drift.drift_detected else STATUSES.get(drift.status, (drift.status, ""))
    reason = f"<p>{escape(drift.reason)}</p>" if drift.reason else ""
    facts = {
        "Predictions in the drift window": f"{drift.window_size:,} of {drift.window_capacity:,}",
        "Needed before drift is checked": f"{drift.min_samples:,}",
        "Drift score (drift above 1)": f"{drift.drift_score:.2f}",
    }
    plot = histogram_html(drift.histogram) if drift.histogram else ""
    return (
        f'<div class="card {"ai_generated" if drift.drift_detected else "quiet"}" id="drift-card">'
        f"<h2>{escape(title)}</h2><p>{escape(advice)}</p>{reason}{_facts(facts)}{plot}{_checks(drift)}</div>"
    )


def _facts(facts: dict[str, str]) -> str:
    pairs = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="pairs">{pairs}</dl>'


def _checks(drift: Drift) -> str:
    if not drift.checks:
        return ""
    rows = "".join(
        f'<tr{" class=alert" if check.alert else ""}><th scope="row">{escape(check.name.replace("_", " "))}</th>'
        f"<td>{_number(check.score)}</td><td>{_number(check.threshold)}</td>"
        f"<td>{_state(check)}</td></tr>"
        for check in drift.checks
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Check", "Score", "Threshold", "State"))
    return (
        f"<details{' open' if drift.drift_detected else ''}><summary>{len(drift.checks)} checks</summary>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></details>"
    )


def _state(check: DriftCheck) -> str:
    if check.score is None:
        return "too few photos"
    return "over its threshold" if check.alert else "fine"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


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
        except GatewayError as error:
            return cards.error_html(error, wording.words(error).remedy)
        return state_html(health, drift, ready=ready)
