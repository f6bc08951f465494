"""What was measured, as a table for people."""

from __future__ import annotations

from rich.table import Table

from benchmarks.figures import FIGURES, GATEWAY, PLAIN, PREDICT, ROWS, SMALL, TORCHSERVE, Measured, Row

COLUMNS = ("of ceiling", "x plain", "x plain 224", "memory MB", "start-up s")


def table(found: Measured) -> Table:
    """Every row with its figures, mean ± standard deviation of the rounds; memory and start-up once a stack."""
    grid = Table(
        "stack",
        "asked for",
        "clients",
        *FIGURES,
        *COLUMNS,
        caption=_caption(found),
        caption_justify="left",
        padding=(0, 0),
    )
    for before, row in zip((None, *ROWS), ROWS, strict=False):
        first = before is None or before.stack != row.stack
        grid.add_row(
            row.stack if first else "",
            row.asks,
            str(row.clients),
            *(str(found.spread(row, figure)) for figure in FIGURES.values()),
            str(found.of_ceiling(row)) if row.pictures else "",
            *(_times(found, row, base) for base in (PLAIN, SMALL)),
            f"{found.memory(row.stack).mean:,.0f}" if first else "",
            f"{found.start_s[row.stack]:.1f}" if first else "",
        )
    return grid


def _times(found: Measured, row: Row, base: str) -> str:
    compared = row.asks == PREDICT and row.stack in {TORCHSERVE, GATEWAY}
    return str(found.times(row, base)) if compared else ""


def _caption(found: Measured) -> str:
    about = "; ".join(f"{name}: {value}" for name, value in found.about.items())
    return "\n".join([f"n = {len(found.rounds)} rounds, mean ± sd. {about}", *map(str, found.goals())])
