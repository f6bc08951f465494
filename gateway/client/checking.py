"""Any number of images through the gateway's batches, as steps without I/O that both clients take.

The gateway may be restarted, busy or slower than its rates allow meanwhile: such batches are sent again, and when
patience is at an end their images have failed, not those of the next batch.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from gateway.client import calls, errors
from gateway.client.answers import BatchResult, Failure, Outcome, Verdict
from gateway.client.calls import Call, Photo

BATCH_FILES: Final = 10
BATCH_BYTES: Final = 50 * 1024 * 1024
"""The gateway's defaults; where it takes less, its refusals are heeded."""
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 15.0
OnWait = Callable[[float, errors.GatewayError], None]
"""Is told before each wait how long it is, and why."""


class Options(TypedDict, total=False):
    """How images are checked; explanations and evidence are asked for image by image."""

    batch_size: int | None
    """Images per request; None means 10, or as many as the gateway takes."""
    explain: bool
    evidence: bool
    patience_s: float
    """How long a batch that meets a rate, or a service that is away, is waited for: 120 s."""
    on_wait: OnWait | None


@dataclass(frozen=True)
class Read:
    """Step: read an image; wants its bytes or the error."""

    photo: Photo


@dataclass(frozen=True)
class Ask:
    """Step: make a call; wants its answer or the error."""

    call: Call[Any]


@dataclass(frozen=True)
class Wait:
    """Step: let time pass before the call is made again."""

    seconds: float


Content = bytes | errors.PhotoUnreadableError
Step = Read | Ask | Wait | Verdict | Failure
Steps = Generator[Step, Any, None]


def next_step(steps: Steps, reply: object) -> Step | None:
    """Return what is to be done after the reply to the step before; None at the end."""
    try:
        return steps.send(reply)
    except StopIteration:
        return None


@dataclass
class Checking:
    """One run over images, with `Options`; it remembers what it has learnt of the gateway."""

    timeout_s: float
    batch_size: int | None = None
    explain: bool = False
    evidence: bool = False
    patience_s: float = 120.0
    on_wait: OnWait | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        self._size = 1 if self.explain or self.evidence else self.batch_size or BATCH_FILES
        self._single = self._size == 1
        self._hopeless = False  # patience ended, and nothing has come through since
        self._refused: errors.KeyRefusedError | None = None

    def steps(self, photos: Iterable[Photo]) -> Steps:
        """Yield the steps; verdicts and failures among them are the results, one per image and in order."""
        held: list[Content] = []
        for photo in photos:
            if len(held) >= self._size:
                yield from self._predict(held)
                held = []
            content: Content = yield Read(photo)
            if held and sum(len(one) for one in [*held, content] if isinstance(one, bytes)) > BATCH_BYTES:
                yield from self._predict(held)
                held = []
            held.append(content)
        if held:
            yield from self._predict(held)

    def _predict(self, contents: list[Content]) -> Steps:
        outcomes: list[Outcome | None] = [
            Failure(one) if isinstance(one, errors.GatewayError) else None for one in contents
        ]
        # A call without an answer costs its timeout of the patience.
        patience = _Patience(0 if self._hopeless else self.patience_s, self.timeout_s)
        while pending := [place for place, outcome in enumerate(outcomes) if outcome is None]:
            found = yield from self._ask([one for place in pending if isinstance(one := contents[place], bytes)])
            trouble = next((one.error for one in found if isinstance(one, Failure) and one.error.again), None)
            pause = patience.pause(trouble) if trouble else None
            for place, outcome in zip(pending, found, strict=True):
                outcomes[place] = None if pause is not None and _may_come(outcome) else outcome
            if trouble and pause is not None:
                if self.on_wait:
                    self.on_wait(pause, trouble)
                yield Wait(pause)
        yield from (outcome for outcome in outcomes if outcome is not None)

    def _ask(self, images: list[bytes]) -> Generator[Step, Any, list[Outcome]]:
        if self._refused:
            return [Failure(self._refused)] * len(images)
        found = yield Ask(self._call(images))
        if isinstance(found, errors.GatewayError) and len(images) > 1 and found.code in errors.TOO_MUCH:
            half = len(images) // 2
            if found.code == errors.TOO_MANY_FILES:
                self._size = min(self._size, half)
            first = yield from self._ask(images[:half])
            return first + (yield from self._ask(images[half:]))
        self._refused = found if isinstance(found, errors.KeyRefusedError) else None
        outcomes = _outcomes(found, len(images))
        self._hopeless = all(_may_come(outcome) for outcome in outcomes)
        return outcomes

    def _call(self, images: Sequence[bytes]) -> Call[Any]:
        if self.explain:
            return calls.explain(images[0], evidence=self.evidence)
        if self._single:
            return calls.predict(images[0], evidence=self.evidence)
        return calls.predict_batch(images)


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
