"""Drift: whether the newest predictions, and the images behind them, still look like the first ones here.

What shipped with the model is of research images, from which every shop's differ for good: until a version has
predicted a window full here, its scores stand beside those, and nothing alerts.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Final, get_args

import numpy as np

from gateway import schemas
from gateway.drift.reference import EDGES, Floats, Reference, learn, plan, ranges_of, score_plan
from gateway.drift.store import DriftStore, Sample
from gateway.settings import Settings

LIVE_TAIL: Final = 20
"""Newest predictions of which a reference's version must have given half to count as live."""
LEARNED_SHARE: Final = 0.9
"""Of a full window, that a version must have given for it to become the version's reference."""
DECIMALS: Final = 6
NO_INPUTS: Final = (
    "The model's archive sends no statistics of its images, so inputs are not compared: "
    "pack it again with `python -m training.repack`."
)


class DriftMonitor:
    """The window of the newest predictions and its comparison with the reference; lives in the event loop."""

    def __init__(
        self, reference: Reference | None, settings: Settings, learned: Mapping[str, Reference] | None = None
    ) -> None:
        self._shipped = reference
        self._learned = dict(learned or {})
        self._settings = settings
        self._window: deque[Sample] = deque(maxlen=settings.drift_window)
        self._given: Counter[str] = Counter()
        self._unsaved = 0
        self._report: schemas.DriftBody | None = None

    def record(self, sample: Sample) -> None:
        """Add a prediction; the oldest one falls out of a full window."""
        if len(self._window) == self._window.maxlen:
            self._given[self._window[0].model_version] -= 1
        self._window.append(sample)
        self._given[sample.model_version] += 1
        self._unsaved += 1
        self._report = None
        self._learn(sample.model_version)

    def report(self) -> schemas.DriftBody:
        """What `GET /drift` says; worked out again only after a new prediction."""
        if self._report is None:
            self._report = self._compare()
        return self._report

    def histogram(self) -> schemas.DriftHistogram:
        """The distribution of the scores that the report is about."""
        version = self._version()
        reference = self._reference(version)
        theirs = reference.scores.histogram if reference else None
        edges = list(theirs.edges if theirs else EDGES)
        scores = [sample.probability for sample in self._window if sample.model_version == version]
        counts, _ = np.histogram(scores, bins=edges)
        return schemas.DriftHistogram(
            edges=edges,
            reference=list(theirs.share) if theirs else None,
            current=[_rounded(share) for share in counts / len(scores)] if scores else None,
        )

    @asynccontextmanager
    async def kept(self, store: DriftStore) -> AsyncIterator[None]:
        """Start with the stored window; while the block runs, save what is new at intervals, and at its end."""
        self._window.extend(await store.load())
        self._given = Counter(sample.model_version for sample in self._window)
        self._learned |= await store.share({})
        if self._window:
            self._learn(self._window[-1].model_version)
        self._report = None
        stop = asyncio.Event()
        saving = asyncio.create_task(self._save_until(stop, store))
        try:
            yield
        finally:
            stop.set()  # a cancelled task could leave a thread behind that still writes
            await saving

    async def _save_until(self, stop: asyncio.Event, store: DriftStore) -> None:
        stopped = False
        while not stopped:
            with suppress(TimeoutError):
                stopped = await asyncio.wait_for(stop.wait(), self._settings.drift_save_interval_s)
            fresh, self._unsaved = self._unsaved, 0
            if fresh:
                await store.save(tuple(self._window), fresh)
                self._learned |= await store.share(dict(self._learned))
                self._report = None

    def _learn(self, version: str) -> None:
        """Take the window for the version's reference, once it is full of it."""
        most = self._settings.drift_window
        if version in self._learned or len(self._window) < most or self._given[version] < LEARNED_SHARE * most:
            return
        columns = columns_of([sample for sample in self._window if sample.model_version == version])
        self._learned[version] = learn(version, columns, self._settings.drift_min_samples)

    def _compare(self) -> schemas.DriftBody:
        version = self._version()
        reference = self._reference(version)
        samples = [sample for sample in self._window if sample.model_version == version]
        columns = columns_of(samples, reference)
        status, reason = self._status(version, len(samples))
        if samples and not any(sample.inputs for sample in samples):
            reason = f"{reason} {NO_INPUTS}" if reason else NO_INPUTS
        enough = len(samples) >= self._settings.drift_min_samples and status != "other_version"
        checks = self._run_checks(reference, columns) if reference and enough else []
        alerts = [check for check in checks if check.alert]
        return schemas.DriftBody(
            status=status,
            reason=reason,
            window_size=len(self._window),
            window_capacity=self._settings.drift_window,
            min_samples=self._settings.drift_min_samples,
            false_alarm_rate=self._settings.drift_false_alarm_rate,
            reference_source=("own traffic" if reference.since else "shipped") if reference else None,
            reference_since=reference.since.isoformat() if reference and reference.since else None,
            reference=_of_reference(reference) if reference else None,
            current=_of_samples(samples, columns) if samples else None,
            checks=checks,
            alerts=[f"{check.name} is {check.score:g}, over its threshold of {check.threshold:g}" for check in alerts],
            drift_detected=bool(alerts),
            drift_score=max(map(_relative, checks), default=0.0) if status == "monitoring" else 0.0,
        )

    def _version(self) -> str | None:
        """The version that is compared: one with a reference while it is live, else the newest."""
        newest = [sample.model_version for sample in islice(reversed(self._window), LIVE_TAIL)]
        known = {*self._learned, *([self._shipped.model_version] if self._shipped else [])}
        live = [version for version, given in Counter(newest).most_common() if 2 * given >= len(newest)]
        return next((version for version in live if version in known), newest[0] if newest else None)

    def _reference(self, version: str | None) -> Reference | None:
        return self._learned.get(version or "", self._shipped)

    def _status(self, version: str | None, size: int) -> tuple[schemas.DriftStatus, str | None]:
        least, most = self._settings.drift_min_samples, self._settings.drift_window
        if version in self._learned:
            missing = least - size
            return ("collecting", f"{missing} more predictions are needed.") if missing > 0 else ("monitoring", None)
        missing = most - size
        coming = (
            f"{missing} more predictions become the reference." if missing > 0 else "Two versions share the window."
        )
        if self._shipped is None:
            return "no_reference", f"There are no reference statistics to compare with. {coming}"
        theirs = self._shipped.model_version
        if version not in {None, theirs}:
            reason = f"The reference is of model version {theirs}; version {version} answers now. {coming}"
            return "other_version", reason
        reason = f"{coming} Until then scores stand beside those of the model's calibration, and nothing alerts."
        return "collecting", reason

    def _run_checks(self, reference: Reference, columns: Mapping[str, Floats]) -> list[schemas.DriftCheck]:
        own = reference.since is not None  # what shipped is no measure of this traffic: it informs, and never alerts
        checks = plan(reference) if own else score_plan(reference)
        alpha = self._settings.drift_false_alarm_rate / len(checks)  # Bonferroni
        done = [check.run(columns, alpha, self._settings.drift_min_samples) for check in checks]
        return done if own else [check.model_copy(update={"alert": False}) for check in done]


def columns_of(samples: Sequence[Sample], reference: Reference | None = None) -> dict[str, Floats]:
    """The window by column: scores, predictions as 0 and 1, and inputs, where those were measured.

    Of a reference with the least and the greatest of its inputs, also whether an image has none between them.
    """
    columns = {
        "probability": np.array([sample.probability for sample in samples]),
        "ai_generated": np.array([float(sample.prediction == "ai_generated") for sample in samples]),
        "low_confidence": np.array([float(sample.confidence == "low") for sample in samples]),
    }
    names = {name for sample in samples for name in sample.inputs}
    columns |= {name: np.array([sample.inputs[name] for sample in samples if name in sample.inputs]) for name in names}
    if reference and (ranges := ranges_of(reference)):
        measured = [sample.inputs for sample in samples if sample.inputs]
        columns["outside"] = np.array([float(_is_outside(inputs, ranges)) for inputs in measured])
    return columns


def _is_outside(
    inputs: Mapping[schemas.InputName, float], ranges: Mapping[schemas.InputName, tuple[float, float]]
) -> bool:
    return any(not low <= inputs[name] <= high for name, (low, high) in ranges.items() if name in inputs)


def _rounded(value: float) -> float:
    return round(float(value), DECIMALS)


def _relative(check: schemas.DriftCheck) -> float:
    return _rounded(check.score / check.threshold) if check.score is not None and check.threshold else 0.0


def _of_reference(reference: Reference) -> schemas.DriftStatistics:
    scores = reference.scores
    return schemas.DriftStatistics(
        model_version=reference.model_version,
        samples=reference.n,
        mean=scores.mean,
        std=scores.std,
        low_confidence_ratio=scores.low_confidence_ratio.value,
        confidence_ratios=None,
        class_ratios=_class_ratios(scores.ai_generated_ratio.value),
        inputs={
            name: schemas.DriftSummary(samples=found.n or reference.n, mean=found.mean, std=found.std)
            for name, found in reference.inputs.items()
        },
    )


def _of_samples(samples: Sequence[Sample], columns: Mapping[str, Floats]) -> schemas.DriftStatistics:
    confidences = Counter(sample.confidence for sample in samples)
    ratios = {level: _rounded(confidences[level] / len(samples)) for level in get_args(schemas.Confidence)}
    scores = _summary(columns["probability"])
    return schemas.DriftStatistics(
        model_version=samples[-1].model_version,
        samples=scores.samples,
        mean=scores.mean,
        std=scores.std,
        low_confidence_ratio=ratios["low"],
        confidence_ratios=ratios,
        class_ratios=_class_ratios(float(columns["ai_generated"].mean())),
        inputs={name: _summary(columns[name]) for name in get_args(schemas.InputName) if name in columns},
    )


def _class_ratios(ai_generated: float) -> dict[schemas.Prediction, float]:
    return {"real": _rounded(1 - ai_generated), "ai_generated": _rounded(ai_generated)}


def _summary(values: Floats) -> schemas.DriftSummary:
    return schemas.DriftSummary(samples=values.size, mean=_rounded(values.mean()), std=_rounded(values.std()))
