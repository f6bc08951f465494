"""Any number of photos through the gateway's batches, as steps without I/O that both clients take.

The gateway may be restarted, busy or slower than its rates allow meanwhile: such batches are sent again, and when
patience is at an end their photos have failed, not those of the next batch.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.client import calls, errors
from gateway.client.answers import BatchResult, Failure, Outcome, Verdict
from gateway.client.calls import Call, Photo

BATCH_FILES: Final = 10
BATCH_BYTES: Final = 50 * 1024 * 1024
"""The gateway's defaults; where it takes less, its refusals are heeded."""
TOO_MUCH: Final = frozenset({errors.TOO_MANY_FILES, errors.REQUEST_TOO_LARGE})
PATIENCE_S: Final = 120.0
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 15.0

OnWait = Callable[[float, errors.GatewayError], None]
"""Is told how long is waited, and why."""


@dataclass(frozen=True)
class Read:
    """Step: read a photo; wants its bytes or the error."""

    photo: Photo


@dataclass(frozen=True)
class Ask:
    """Step: make a call; wants its answer or the error."""

    call: Call[Any]


@dataclass(frozen=True)
class Wait:
    """Step: let time pass before the call is made again."""

    seconds: float
    error: errors.GatewayError


@dataclass(frozen=True)
class Wishes:
    """How photos are checked; explanations and evidence come photo by photo."""

    batch_size: int | None = None
    explain: bool = False
    evidence: bool = False
    patience_s: float = PATIENCE_S
    timeout_s: float = 0.0
    """What one call without an answer costs of the patience."""

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")

    @property
    def size(self) -> int:
        """Photos in a request to begin with."""
        return 1 if self.explain or self.evidence else self.batch_size or BATCH_FILES

    def call(self, photos: Sequence[bytes]) -> Call[Any]:
        """Return the call that judges these photos."""
        if self.explain:
            return calls.explain(photos[0], evidence=self.evidence)
        if self.size == 1:
            return calls.predict(photos[0], evidence=self.evidence)
        return calls.predict_batch(photos)


Content = bytes | errors.PhotoUnreadableError
Step = Read | Ask | Wait | Verdict | Failure
Steps = Generator[Step, Any, None]


class Checking:
    """One run over photos; it remembers what it has learnt of the gateway."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._size = wishes.size
        self._hopeless = False  # patience ended, and nothing has come through since
        self._refused: errors.KeyRefusedError | None = None

    def steps(self, photos: Iterable[Photo]) -> Steps:
        """Yield the steps; verdicts and failures among them are the results, one a photo and in order."""
        held: list[Content] = []
        for photo in photos:
            if len(held) >= self._size:
                yield from self._judge(held)
                held = []
            content: Content = yield Read(photo)
            if held and _weight([*held, content]) > BATCH_BYTES:
                yield from self._judge(held)
                held = []
            held.append(content)
        if held:
            yield from self._judge(held)

    def _judge(self, contents: list[Content]) -> Steps:
        outcomes: list[Outcome | None] = [
            Failure(one) if isinstance(one, errors.GatewayError) else None for one in contents
        ]
        patience = _Patience(0 if self._hopeless else self._wishes.patience_s, self._wishes.timeout_s)
        while pending := [place for place, outcome in enumerate(outcomes) if outcome is None]:
            found = yield from self._ask([one for place in pending if isinstance(one := contents[place], bytes)])
            trouble = next((one.error for one in found if isinstance(one, Failure) and one.error.again), None)
            pause = patience.pause(trouble) if trouble else None
            for place, outcome in zip(pending, found, strict=True):
                outcomes[place] = None if pause is not None and _may_come(outcome) else outcome
            if trouble and pause is not None:
                yield Wait(pause, trouble)
        yield from (outcome for outcome in outcomes if outcome is not None)

    def _ask(self, photos: list[bytes]) -> Generator[Step, Any, list[Outcome]]:
        if self._refused:
            return [Failure(self._refused)] * len(photos)
        found = yield Ask(self._wishes.call(photos))
        if isinstance(found, errors.GatewayError) and found.code in TOO_MUCH and len(photos) > 1:
            return (yield from self._ask_halves(photos, found.code))
        self._refused = found if isinstance(found, errors.KeyRefusedError) else None
        outcomes = _outcomes(found, len(photos))
        self._hopeless = all(_may_come(outcome) for outcome in outcomes)
        return outcomes

    def _ask_halves(self, photos: list[bytes], code: str) -> Generator[Step, Any, list[Outcome]]:
        half = len(photos) // 2
        if code == errors.TOO_MANY_FILES:
            self._size = min(self._size, half)
        first = yield from self._ask(photos[:half])
        return first + (yield from self._ask(photos[half:]))


@dataclass
class _Patience:
    left_s: float
    timeout_s: float
    waits: int = 0

    def pause(self, error: errors.GatewayError) -> float | None:
        """Seconds to wait before the next attempt; None when there is to be none."""
        wished = error.retry_after_s
        pause = max(FIRST_WAIT_S, min(FIRST_WAIT_S * 2**self.waits, LONGEST_WAIT_S) if wished is None else wished)
        self.left_s -= pause + (self.timeout_s if isinstance(error, errors.ServiceSlowError) else 0)
        self.waits += 1
        return pause if self.left_s >= 0 else None


def _outcomes(found: BatchResult | Verdict | errors.GatewayError, count: int) -> list[Outcome]:
    match found:
        case BatchResult():
            return list(found.results)
        case Verdict():
            return [found]
        case _:
            return [Failure(found)] * count


def _may_come(outcome: Outcome) -> bool:
    return isinstance(outcome, Failure) and outcome.error.again


def _weight(contents: Iterable[Content]) -> int:
    return sum(len(one) for one in contents if isinstance(one, bytes))
