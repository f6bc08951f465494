"""One photo of a batch: its name, its thumbnail, and its verdict or the reason why it has none."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.client import Verdict
from ui import wording

FAILED = "failed"
CLOSELY = "closely"


@dataclass(frozen=True, slots=True)
class Row:
    """One photo; `number` counts from 1 in the order in which the photos were chosen."""

    number: int
    name: str
    thumbnail: bytes | None
    verdict: Verdict | None = None
    reason: str = ""
    # Whether the photo itself is fine and may be sent again.
    again: bool = False

    @property
    def groups(self) -> tuple[str, ...]:
        """The filters that show this row."""
        if self.verdict is None:
            return (FAILED,)
        undecided = wording.look(self.verdict) == wording.UNDECIDED
        return (self.verdict.prediction, CLOSELY) if undecided else (self.verdict.prediction,)


def count(rows: Iterable[Row]) -> Counter[str]:
    """How many rows each filter shows."""
    return Counter(group for row in rows for group in row.groups)
