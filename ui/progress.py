"""How far a batch has come: a progress bar with words."""

from collections.abc import Sequence
from html import escape

from ui import wording
from ui.errors import CheckError
from ui.rows import CLOSELY, FAILED, Row, count

IDLE = (
    '<div class="card quiet"><h2>No photos checked yet</h2>'
    "<p>Choose up to {most} product photos and press <strong>Check photos</strong>. "
    "They are sent a few at a time; if you stop, finished results stay on the page.</p></div>"
)


def running_html(rows: Sequence[Row], total: int, note: str = "") -> str:
    """Show a running batch; `note` says what it waits for."""
    done = len(rows)
    return (
        '<div class="card progress"><p class="score"><span>Checking photos</span> '
        f"<strong>{done} of {total}</strong></p>"
        f'<progress max="{total}" value="{done}" aria-label="Photos checked"></progress>'
        f'<p class="facts">{escape(_summary(rows))}</p><p class="facts">{escape(note)}</p></div>'
    )


def done_html(rows: Sequence[Row], trouble: CheckError | None = None) -> str:
    """Show a batch that has ended; `trouble` is why photos were left without an answer, and what helps."""
    left = sum(row.again for row in rows)
    title = f"{wording.photos(len(rows))} done" if not left else f"{wording.photos(left)} of {len(rows):,} left"
    advice = f"<p>{escape(_advice(left, trouble))}</p>" if left else ""
    return (
        f'<div class="card {"trouble" if left else "quiet"}"><h2>{title}</h2>{advice}'
        f'<p class="facts">{escape(_summary(rows))}</p></div>'
    )


def _advice(left: int, trouble: CheckError | None) -> str:
    press = f"Press Check {wording.photos(left)} again."
    if trouble is None:
        return press
    said = f"{trouble.title}: {trouble.detail}" if trouble.detail else trouble.title
    return f"{said.removesuffix('.')}. {trouble.remedy} {press}"


def _summary(rows: Sequence[Row]) -> str:
    counts = count(rows)
    parts = [
        f"{counts['ai_generated']:,} likely AI-generated",
        f"{counts['real']:,} likely real",
        f"{counts[CLOSELY]:,} to look at closely",
        f"{counts[FAILED]:,} not checked",
    ]
    return " · ".join(parts)
