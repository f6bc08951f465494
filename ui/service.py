"""The tab for the service itself: health, live version, and drift."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import gradio as gr

from gateway.client import Drift, Health
from gateway.client.answers import DriftCheck, DriftHistogram
from ui import cards, wording
from ui.gateway import Gateway
from ui.photos import caller_of
from ui.wording import CheckError

WIDTH, HEIGHT = 640, 226
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 12, 40
STEPS = (0.05, 0.1, 0.2, 0.25, 0.5)
LINES_MAX = 5
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
    """Draw both distributions bin by bin; a distribution that is not there is left out."""
    series = [
        (name, title, shares)
        for name, title, shares in (
            ("reference", "Reference", histogram.reference),
            ("current", "Newest predictions", histogram.current),
        )
        if shares is not None
    ]
    if not series:
        return '<p class="facts">There are no scores to plot yet.</p>'
    keys = "".join(f'<li class="{name}">{title}</li>' for name, title, _ in series)
    drawn = _svg(histogram.edges, [(name, shares) for name, _, shares in series])
    table = _table(histogram.edges, [(title, shares) for _, title, shares in series])
    return (
        f'<figure class="chart"><figcaption>How often each score came up</figcaption><ul class="keys">{keys}</ul>'
        f"{drawn}<details><summary>The same as a table</summary>{table}</details></figure>"
    )


def _svg(edges: Sequence[float], series: Sequence[tuple[str, Sequence[float]]]) -> str:
    step, top = _scale(max(share for _, shares in series for share in shares))
    lines = "".join(_line(number * step, top) for number in range(round(top / step) + 1))
    bars = "".join(
        _bar(name, place, len(series), bounds, share, top)
        for place, (name, shares) in enumerate(series)
        for bounds, share in zip(pairwise(edges), shares, strict=True)
    )
    ends = "".join(map(_tick, (0, 0.25, 0.5, 0.75, 1)))
    title = f'<text x="{_x(0.5):.1f}" y="{HEIGHT - 6}" text-anchor="middle">probability of AI generation</text>'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Bar chart of the scores; the table below has its numbers">'
        f"{lines}{bars}{ends}{title}</svg>"
    )


def _scale(highest: float) -> tuple[float, float]:
    """The distance of the lines, and the axis's end: the first line at or above the highest bar."""
    step = next((step for step in STEPS if highest <= step * LINES_MAX), STEPS[-1])
    lines = max(1, -int(-highest // step))
    return step, lines * step


def _line(share: float, top: float) -> str:
    y = _y(share, top)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'
    )


def _tick(score: float) -> str:
    anchor = "end" if score == 1 else "middle"
    return f'<text x="{_x(score):.1f}" y="{HEIGHT - 22}" text-anchor="{anchor}">{score:.0%}</text>'


def _bar(name: str, place: int, of: int, bounds: tuple[float, float], share: float, top: float) -> str:  # noqa: PLR0913, PLR0917 - a rectangle's facts
    low, high = (_x(bound) for bound in bounds)
    width = (high - low) * 0.8 / of
    x = low + (high - low) * 0.1 + place * width
    y = _y(share, top)
    return (
        f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_y(0, top) - y:.1f}">'
        f"<title>{bounds[0]:.0%} to {bounds[1]:.0%}: {share:.1%}</title></rect>"
    )


def _x(score: float) -> float:
    return LEFT + score * (WIDTH - LEFT - RIGHT)


def _y(share: float, top: float) -> float:
    return HEIGHT - BOTTOM - share / top * (HEIGHT - TOP - BOTTOM)


def _table(edges: Sequence[float], series: Sequence[tuple[str, Sequence[float]]]) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title, _ in series)
    rows = "".join(
        f'<tr><th scope="row">{low:.0%} to {high:.0%}</th>'
        + "".join(f"<td>{shares[number]:.1%}</td>" for _, shares in series)
        + "</tr>"
        for number, (low, high) in enumerate(pairwise(edges))
    )
    return f'<table><thead><tr><th scope="col">Score</th>{head}</tr></thead><tbody>{rows}</tbody></table>'


@dataclass(frozen=True, slots=True)
class State:
    """What was asked of the service at one moment."""

    health: Health
    ready: bool
    drift: Drift


def state_html(state: State) -> str:
    """Show health, live version and drift."""
    return _health(state.health, ready=state.ready) + _drift(state.drift)


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
        except CheckError as error:
            return cards.error_html(error, error.remedy)
        return state_html(State(health, ready, drift))
