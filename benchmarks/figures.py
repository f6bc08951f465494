"""From bursts of requests to figures: rates and percentiles with their spread, ratios within a round, goals."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.load import Spread, percentile

CEILING, ALONE = "in-process ceiling", "in-process, one image"
SMALL, PLAIN = "plain, 224 px", "plain, our views"
TORCHSERVE, GATEWAY = "TorchServe direct", "through the gateway"
PREDICT, EXPLAIN, BATCH, HEALTH = "predict", "explain", "batch of 10", "health under load"
CLIENTS: Final = (1, 8, 32)
MOST: Final = CLIENTS[-1]
BATCH_FILES: Final = 10


@dataclass(frozen=True)
class Burst:
    """The time that each answer took, and how many there were a second."""

    latencies_ms: list[float]
    per_s: float

    def percentile(self, percent: int) -> float:
        """A percentile of the latencies in ms."""
        return percentile(self.latencies_ms, percent)


@dataclass(frozen=True)
class Row:
    """A row of the table: stack, route, number of clients, and images per request."""

    stack: str
    asks: str = PREDICT
    clients: int = 1
    pictures: int = 1


def health(stack: str) -> Row:
    """Probes of a stack's health while the most clients ask it for predictions."""
    return Row(stack, HEALTH, MOST, pictures=0)


ROWS: Final = (
    Row(CEILING),
    Row(ALONE),
    *(row for plain in (SMALL, PLAIN) for row in [*(Row(plain, PREDICT, n) for n in CLIENTS), health(plain)]),
    *(Row(TORCHSERVE, PREDICT, n) for n in CLIENTS),
    *(Row(GATEWAY, PREDICT, n) for n in CLIENTS),
    *(Row(GATEWAY, EXPLAIN, n) for n in (1, 8)),
    Row(GATEWAY, BATCH, 1, pictures=BATCH_FILES),
    health(GATEWAY),
)
FIGURES: Final[dict[str, Callable[[Burst], float]]] = {
    "requests/s": lambda burst: burst.per_s,
    "p50 ms": lambda burst: burst.percentile(50),
    "p95 ms": lambda burst: burst.percentile(95),
    "p99 ms": lambda burst: burst.percentile(99),
}


@dataclass(frozen=True)
class Goal:
    """A figure that should be at least, or else at most, so large."""

    what: str
    found: Spread
    bound: float
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether the mean of the rounds is on the right side."""
        return self.found.mean >= self.bound if self.least else self.found.mean <= self.bound

    def __str__(self) -> str:
        bound = f"{'at least' if self.least else 'at most'} {self.bound:,g}"
        return f"{'met' if self.met else 'missed'}: {self.what} {self.found}, {bound}"


@dataclass(frozen=True)
class Measured:
    """All rounds, each with a burst for every row and each stack's memory after it, and the stacks' start-up times."""

    rounds: list[dict[Row, Burst]]
    memory_mb: list[dict[str, float]]
    start_s: dict[str, float]
    about: dict[str, Any]

    def spread(self, row: Row, figure: Callable[[Burst], float]) -> Spread:
        """A figure of one row."""
        return Spread.of(figure(found[row]) for found in self.rounds)

    def memory(self, stack: str) -> Spread:
        """Resident memory of a stack's processes together, in MB."""
        return Spread.of(found[stack] for found in self.memory_mb)

    def of_ceiling(self, row: Row) -> Spread:
        """Images per second as a share of the ceiling's in the same round."""
        return Spread.of(found[row].per_s * row.pictures / found[Row(CEILING)].per_s for found in self.rounds)

    def times(self, row: Row, base: str) -> Spread:
        """Requests a second as a multiple of another stack's with as many clients in the same round."""
        return Spread.of(found[row].per_s / found[Row(base, row.asks, row.clients)].per_s for found in self.rounds)

    def slower(self, row: Row, base: Row) -> Spread:
        """The p50 as a multiple of another row's in the same round."""
        return Spread.of(found[row].percentile(50) / found[base].percentile(50) for found in self.rounds)

    def goals(self) -> list[Goal]:
        """What the stack should reach on any machine."""
        one, most = Row(GATEWAY), Row(GATEWAY, PREDICT, MOST)
        probes = self.spread(health(GATEWAY), FIGURES["p99 ms"])
        return [
            Goal(f"share of the ceiling at {MOST} clients", self.of_ceiling(most), 0.75, least=True),
            Goal(f"times the plain service with our views at {MOST} clients", self.times(most, PLAIN), 4.5, least=True),
            Goal("p50 of one client beside one picture in process", self.slower(one, Row(ALONE)), 1.5),
            Goal("p99 of /healthz under load, ms", probes, 50),
            Goal("p50 of an explanation beside a prediction's", self.slower(Row(GATEWAY, EXPLAIN), one), 1.6),
            Goal("memory, MB", self.memory(GATEWAY), 2500),
        ]

    def as_json(self) -> dict[str, Any]:
        """Every figure of every row, and what is drawn from them."""
        rows = [
            asdict(row)
            | {title: asdict(self.spread(row, figure)) for title, figure in FIGURES.items()}
            | {"of the ceiling": asdict(self.of_ceiling(row))}
            for row in ROWS
        ]
        stacks = {
            name: {"memory MB": asdict(self.memory(name)), "start-up s": start} for name, start in self.start_s.items()
        }
        goals = [asdict(goal) | {"met": goal.met} for goal in self.goals()]
        return {"about": self.about, "rows": rows, "stacks": stacks, "goals": goals}
