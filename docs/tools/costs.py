"""What a million pictures cost, by the throughput that `docs/benchmarks.md` states and prices that the reader names."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks.md"
ROWS = {
    ("through the gateway", "32"): ("predictions, 32 clients", 1),
    ("through the gateway", "1"): ("predictions, one client", 1),
    ("explain", "8"): ("explanations, 8 clients", 1),
    ("batch of 10", "1"): ("batches of ten, one client", 10),
}
"""Rows of the benchmark by label and clients: what they are here, and how many pictures a request of theirs has."""
MILLION, HOUR_S = 1_000_000, 3600
EXAMPLE_PRICES = (0.05, 0.10, 0.20)
EXAMPLE_UTILISATION = 0.6


@dataclass(frozen=True)
class Rate:
    """How many pictures a second the measured machine judges when it is asked in some way."""

    asked: str
    pictures_per_s: float


def measured(page: str) -> list[Rate]:
    """Return the rates of the page's first table that has them.

    Raises:
        ValueError: A row is missing.
    """
    label, found = "", dict[tuple[str, str], float]()
    for line in page.splitlines():
        if not (cells := [cell.strip() for cell in line.split("|")[1:-1]]):
            continue
        label = cells[0] or label
        rate = re.match(r"[\d,.]+", cells[2]) if len(cells) > 2 else None  # noqa: PLR2004 - label, clients, rate
        if rate and (label, cells[1]) in ROWS:
            found.setdefault((label, cells[1]), float(rate[0].replace(",", "")))
    if missing := [f"{label!r} with {clients} clients" for label, clients in ROWS if (label, clients) not in found]:
        raise ValueError(f"the benchmark has no row {', '.join(missing)}")
    return [Rate(asked, pictures * found[row]) for row, (asked, pictures) in ROWS.items()]


def per_million(price_per_hour: float, pictures_per_s: float, utilisation: float) -> float:
    """Return the price of a million pictures on a machine that works so much of the time that is paid for."""
    return price_per_hour / HOUR_S / (pictures_per_s * utilisation) * MILLION


def table(rates: list[Rate], prices: tuple[float, ...], utilisation: float) -> str:
    """Return the costs as a table of Markdown: a row a way of asking, a column a price."""
    head = ["asked by", "pictures/s", "machine hours a million", *(f"at {price:g} an hour" for price in prices)]
    rows = [
        [
            rate.asked,
            f"{rate.pictures_per_s:.1f}",
            f"{per_million(1, rate.pictures_per_s, utilisation):.1f}",
            *(f"{per_million(price, rate.pictures_per_s, utilisation):.2f}" for price in prices),
        ]
        for rate in rates
    ]
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def example() -> str:
    """Return the table that `docs/COSTS.md` shows."""
    return table(measured(BENCHMARKS.read_text(encoding="utf-8")), EXAMPLE_PRICES, EXAMPLE_UTILISATION)


def main() -> None:
    """Print the table for the prices of the command line."""
    parser = argparse.ArgumentParser(prog="python -m docs.tools.costs", description=__doc__)
    parser.add_argument("--price", type=float, nargs="+", required=True, help="what an hour of the machine costs")
    parser.add_argument("--utilisation", type=float, default=EXAMPLE_UTILISATION, help="share of the time at work")
    parser.add_argument("--pictures-per-s", type=float, help="your own measurement instead of the page's")
    given = parser.parse_args()
    if not 0 < given.utilisation <= 1:
        parser.error("--utilisation is a share of 1")
    own = given.pictures_per_s
    rates = [Rate("as you measured", own)] if own else measured(BENCHMARKS.read_text(encoding="utf-8"))
    print(table(rates, tuple(given.price), given.utilisation))


if __name__ == "__main__":
    main()
