"""Goals of the detector and operating points, compared with what was measured; and the gate against the baseline."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from handler.spec import ModelSpec
from training.data.manifest import Photo
from training.evaluation.figures import Figures, Floats, Scored, rates, score
from training.files import Paths, StageError, read_json, read_optional_json, refusals, write_bytes
from training.params import OperatingPoint, Params, parse_command_line

AUROC_GOAL, AUROC_USEFUL = 0.90, 0.80
MAX_PRODUCT_FALSE_ALARMS = 0.05
MAX_CALIBRATION_ERROR = 0.05
MAX_JPEG_LOSS = 0.03
MAX_METADATA_DISTANCE = 0.05
MAX_STATISTICS_AUC = 0.60
FALSE_ALARM_LIMITS: dict[OperatingPoint, float] = {"false_alarms_5": 0.05, "false_alarms_1": 0.01}
_CANDIDATES = np.arange(9_999, 0, -1) / 10_000
"""Base rates, the most alarming first."""
_ODDS = 0.49995 / 0.50005
"""Of the least probability that four decimals round up to 0.5."""


@dataclass(frozen=True)
class Goal:
    """A bar, the figure held against it, and whether it is cleared; `met` is None where nothing was measured."""

    name: str
    bar: str
    reached: str
    met: bool | None


def goals(metrics: Mapping[str, Any], validation: Mapping[str, Any] | None) -> list[Goal]:
    """Return every goal, from `metrics.json` and, where it was run, `data_validation.json`."""
    split = headline_split(metrics)
    figures = metrics["splits"][split]["unseen_sources"] or {}
    auroc, error = (figures.get(name) for name in ("auroc", "expected_calibration_error"))
    clean, jpeg70 = (metrics["robustness"][split][name]["auroc"] for name in ("clean", "jpeg70"))
    useful, goal = (None if auroc is None else auroc >= bar for bar in (AUROC_USEFUL, AUROC_GOAL))
    leaks = (validation or {}).get("leaks") or {}
    metadata, statistics = (
        ((leaks.get(name) or {}).get("across_sources") or {}).get(measure)
        for name, measure in (("metadata_after_pipeline", "distance"), ("statistics_after_pipeline", "auc"))
    )
    return [
        Goal(f"AUROC on unseen sources of {split}, to be useful", f"at least {AUROC_USEFUL:.2f}", _text(auroc), useful),
        Goal(f"AUROC on unseen sources of {split}, the goal", f"at least {AUROC_GOAL:.2f}", _text(auroc), goal),
        *(_product_goal(split, which, part) for which, part in metrics["splits"][split]["product_photos"].items()),
        _at_most(f"expected calibration error on unseen sources of {split}", error, MAX_CALIBRATION_ERROR),
        _at_most(f"AUROC lost on {split} under JPEG 70", clean - jpeg70, MAX_JPEG_LOSS),
        _at_most(
            "leak: distance from chance (0.5) of the AUC by file metadata alone, after the pipeline",
            metadata,
            MAX_METADATA_DISTANCE,
        ),
        _at_most("leak: AUC by trivial statistics alone, after the pipeline", statistics, MAX_STATISTICS_AUC),
    ]


def headline_split(metrics: Mapping[str, Any]) -> str:
    """Return the split for headline figures: test if it was read, else dev."""
    return "test" if "test" in metrics["splits"] else "dev"


def _product_goal(split: str, which: str, part: Mapping[str, Any] | None) -> Goal:
    name = f"false alarms on real product photos of {split}, {which.replace('_', ' ')}"
    bar = f"at most {MAX_PRODUCT_FALSE_ALARMS:.0%}"
    if part is None:
        return Goal(name, bar, "-", None)
    share = part["false_positive_rate"]
    return Goal(name, bar, f"{share:.1%} of {part['n']}", share <= MAX_PRODUCT_FALSE_ALARMS)


def _at_most(name: str, value: float | None, bar: float) -> Goal:
    return Goal(name, f"at most {bar:.2f}", _text(value), None if value is None else value <= bar)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def operating_points(scored: Scored, products: Collection[str]) -> dict[str, float]:
    """Return the base rate of each operating point on images of both classes.

    `balanced` has the best balanced accuracy, from the middle where several do. The others are the highest base rates
    at which at most the named percentage of the real images is flagged; where none does, the lowest that there is. Real
    images of the product domains count alone if there are any, and by the worse of two measures: all pooled, and the
    mean over their sources.
    """
    recall = _flagged_share(scored.where(scored.generated))
    balance = recall - _flagged_share(scored.where(~scored.generated))
    real = _real_products(scored, products)
    false_alarms = np.maximum(_flagged_share(real), _mean_over_sources(real))
    best = np.flatnonzero(np.isclose(balance, balance.max()))
    points: dict[str, float] = {"balanced": float(_CANDIDATES[best[(len(best) - 1) // 2]])}
    for name, limit in FALSE_ALARM_LIMITS.items():
        within = np.flatnonzero(false_alarms <= limit)
        points[name] = float(_CANDIDATES[within[0] if len(within) else -1])
    return points


def rates_at(
    base_rates: Mapping[str, float], photos: Sequence[Photo], logits: torch.Tensor, spec: ModelSpec, samples: int
) -> dict[str, Figures]:
    """Return each operating point's base rate with the rates that it has on images with logits of shape (N,)."""
    return {
        name: {
            "base_rate": base_rate,
            **rates(score(photos, logits, replace(spec, base_rate=base_rate)), samples),
        }
        for name, base_rate in base_rates.items()
    }


def by_source(scored: Scored, products: Collection[str], point: OperatingPoint) -> dict[str, Any]:
    """Return how the false alarms of an operating point spread over sources of real product photos.

    Each source is held against the base rate that the others alone would choose, as a new shop would be.
    """
    real = _real_products(scored, products)
    sources = sorted({photo.source for photo in real.photos})
    if len(sources) < 2:  # noqa: PLR2004 - one to choose on, one to hold against it
        return {"sources": len(sources)}
    shares, flagged = {}, 0
    for source in sources:
        of_it = np.array([photo.source == source for photo in scored.photos])
        rate = operating_points(scored.where(~of_it), products)[point]
        hits = _of_source(real, source).rebased(rate).flagged
        shares[source], flagged = float(hits.mean()), flagged + int(hits.sum())
    worst = max(shares, key=shares.__getitem__)
    return {
        "sources": len(sources),
        "n": len(real.photos),
        "pooled": flagged / len(real.photos),
        "mean": float(np.mean(list(shares.values()))),
        "std": float(np.std(list(shares.values()))),
        "worst": worst,
        "worst_share": shares[worst],
    }


def _real_products(scored: Scored, products: Collection[str]) -> Scored:
    real = scored.where(~scored.generated)
    found = real.that(lambda photo: photo.domain in products)
    return found if found.photos else real


def _of_source(scored: Scored, source: str) -> Scored:
    return scored.that(lambda photo: photo.source == source)


def _mean_over_sources(scored: Scored) -> Floats:
    sources = sorted({photo.source for photo in scored.photos})
    shares = [_flagged_share(_of_source(scored, source)) for source in sources]
    mean: Floats = np.mean(shares, axis=0)
    return mean


def _flagged_share(scored: Scored) -> Floats:
    """Return the share that is flagged at each candidate."""
    odds = np.sort(scored.balanced / np.maximum(1 - scored.balanced, np.finfo(np.float64).tiny))
    below = np.searchsorted(odds, _ODDS * (1 - _CANDIDATES) / _CANDIDATES, side="left")
    share: Floats = (len(odds) - below) / len(odds)
    return share


WATCHED = {
    "AUROC on unseen sources of dev": ("splits.dev.unseen_sources.auroc", 1),
    "AUROC of the worst robustness tier on dev": ("robustness.dev.worst.auroc", 1),
    "false alarms on real product photos of dev": ("splits.dev.product_photos.unseen_sources.false_positive_rate", -1),
    "calibration error on unseen sources of dev": ("splits.dev.unseen_sources.expected_calibration_error", -1),
}
"""Places in `metrics.json` of what must not get worse, and the sign of an improvement.

None is of test: what chooses versions says nothing of how good the chosen one is.
"""


def run(params: Params, paths: Paths) -> str:
    """Compare the evaluation with the baseline and return the outcome.

    Raises:
        StageError: A watched figure is worse by more than `evaluate.max_regression`, or is no longer measured.
        StageError: There is no evaluation.
    """
    baseline = read_optional_json(paths.baseline)
    metrics = read_json(paths.metrics, "evaluate")
    if baseline is None:
        return f"no baseline at {paths.baseline}: create one with `python -m training.evaluation.goals --accept`"
    regressed = regressions(metrics, baseline, params.evaluate.max_regression)
    if regressed:
        raise StageError(
            f"worse than {paths.baseline} by more than {params.evaluate.max_regression:g}: {'; '.join(regressed)}. "
            "To accept it, run python -m training.evaluation.goals --accept"
        )
    return f"no watched figure is worse than {paths.baseline}'s by more than {params.evaluate.max_regression:g}"


def regressions(metrics: Mapping[str, Any], baseline: Mapping[str, Any], allowed: float) -> list[str]:
    """Describe each watched figure that got worse by more than what is allowed."""
    described = []
    for name, (path, sign) in WATCHED.items():
        before, now = (_figure(report, path) for report in (baseline, metrics))
        if before is not None and now is None:
            described.append(f"{name} was {before:.4f} and is no longer measured")
        elif before is not None and now is not None and sign * (before - now) > allowed:
            described.append(f"{name} was {before:.4f} and is {now:.4f}")
    return described


def _figure(report: Mapping[str, Any], path: str) -> float | None:
    found: Any = report
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return None if found is None else float(found)


def main() -> None:
    """Run from the command line."""
    params, paths, arguments = parse_command_line("gate")
    with refusals("gate"):
        if arguments.accept:
            read_json(paths.metrics, "evaluate")
            write_bytes(paths.baseline, paths.metrics.read_bytes())
        print(run(params, paths))


if __name__ == "__main__":
    main()
