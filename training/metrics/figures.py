"""Figures of a detector on labelled photos, with 95 % intervals that respect groups of related photos.

All resamples are computed at once: a photo's weight is how often it is in one, and ones give the figure itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.data import LABELS, Photo
from training.metrics.bootstrap import exact_interval, group_indices, group_weights, percentile_interval
from training.metrics.scored import Floats, Scored

Figures = dict[str, float | int | list[float]]

CALIBRATION_BINS = 10
FALSE_ALARM_BUDGETS = {"tpr_at_1pct_false_alarms": 0.01, "tpr_at_5pct_false_alarms": 0.05}


def overall(scored: Scored, samples: int) -> Figures:
    """Return ranking, decision and calibration figures of photos of both classes, each with its interval."""
    generated = int(scored.generated.sum())
    counts: Figures = {"n_real": len(scored.photos) - generated, "n_ai_generated": generated}
    weights = group_weights(scored.photos, samples)
    by_chance: Figures = {"expected_calibration_error_by_chance": calibration_error_by_chance(scored, samples)}
    return counts | _with_intervals(scored, weights, _all_figures) | by_chance | rates(scored, samples)


def ranking_quality(scored: Scored, samples: int) -> Figures:
    """Return the AUROC with its interval."""
    weights = group_weights(scored.photos, samples)
    return _with_intervals(scored, weights, lambda s, w: {"auroc": ranking(s, w)["auroc"]})


def rates(scored: Scored, samples: int) -> Figures:
    """Return the shares of AI-generated and of real photos that are flagged, with their intervals."""
    found = flagged_share(scored.where(scored.generated), samples)
    alarms = flagged_share(scored.where(~scored.generated), samples)
    return {
        "true_positive_rate": found["flagged"],
        "true_positive_rate_ci95": found["flagged_ci95"],
        "false_positive_rate": alarms["flagged"],
        "false_positive_rate_ci95": alarms["flagged_ci95"],
    }


def flagged_share(scored: Scored, samples: int) -> Figures:
    """Return the share that is called AI-generated, with its interval.

    Where all or none are, resampling sees no spread; the interval is then exact, with one draw a group.
    """
    share = float(scored.flagged.mean())
    if share in (0, 1):
        interval = exact_interval(share, int(group_indices(scored.photos).max()) + 1)
    else:
        weights = group_weights(scored.photos, samples)
        interval = percentile_interval(weights @ scored.flagged / weights.sum(axis=1))
    return {"n": len(scored.photos), "flagged": share, "flagged_ci95": interval}


def breakdown(scored: Scored, samples: int, value_of: Callable[[Photo], str], at_least: int = 1) -> dict[str, Figures]:
    """Return, for each label and value, the share flagged and the AUROC against the whole other class."""
    names = np.array([f"{photo.label}/{value_of(photo)}" for photo in scored.photos])
    figures: dict[str, Figures] = {}
    for name in sorted(set(names.tolist())):
        inside = names == name
        if inside.sum() >= at_least:
            figures[name] = flagged_share(scored.where(inside), samples)
            against = scored.where(inside | (scored.generated != name.startswith(f"{LABELS[1]}/")))
            if against.has_both_classes:
                figures[name] |= ranking_quality(against, samples)
    return figures


def ranking(scored: Scored, weights: Floats) -> dict[str, Floats]:
    """Return figures that no threshold enters; each of shape (B,) for weights of shape (B, N)."""
    fpr, tpr, precision = curve(scored, weights)
    return {
        "auroc": np.trapezoid(tpr, fpr, axis=1),
        "average_precision": (np.diff(tpr, axis=1) * precision[:, 1:]).sum(axis=1),
    } | {name: np.where(fpr <= budget, tpr, 0).max(axis=1) for name, budget in FALSE_ALARM_BUDGETS.items()}


def curve(scored: Scored, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return false positive rate, true positive rate and precision as the threshold falls.

    Each is of shape (B, T + 1) for T distinct scores, and starts where nothing is flagged (precision 1).
    """
    order = np.argsort(-scored.probabilities, kind="stable")
    scores = scored.probabilities[order]
    last_of_ties = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    generated = scored.generated[order]
    hits, alarms = (
        np.pad(np.cumsum(weights[:, order] * members, axis=1)[:, last_of_ties], ((0, 0), (1, 0)))
        for members in (generated, ~generated)
    )
    flagged = hits + alarms
    precision = np.divide(hits, flagged, out=np.ones_like(hits), where=flagged > 0)
    return alarms / alarms[:, -1:], hits / hits[:, -1:], precision


def decisions(scored: Scored, weights: Floats) -> dict[str, Floats]:
    """Return figures of the verdicts; each of shape (B,) for weights of shape (B, N)."""
    generated, flagged = scored.generated, scored.flagged
    hits, misses = weights @ (generated & flagged), weights @ (generated & ~flagged)
    alarms, passes = weights @ (~generated & flagged), weights @ (~generated & ~flagged)
    return {
        "accuracy": (hits + passes) / weights.sum(axis=1),
        "precision": hits / np.maximum(hits + alarms, 1),
        "f1": 2 * hits / (2 * hits + alarms + misses),
        "balanced_accuracy": (hits / (hits + misses) + passes / (passes + alarms)) / 2,
    }


def calibration_error(scored: Scored, weights: Floats) -> Floats:
    """Return the expected calibration error over ten bins of equal width, shape (B,) for weights of shape (B, N).

    It is that of the balanced probabilities, with half of the weight for each class.
    """
    balanced = weights * class_weights(scored)
    error: Floats = np.abs(balanced @ (in_bins(scored) * (scored.balanced - scored.generated)[:, None])).sum(axis=1)
    return error / balanced.sum(axis=1)


def class_weights(scored: Scored) -> Floats:
    """Return weights of photos, shape (N,), that sum up to one half for each class that there is."""
    generated = scored.generated
    weights: Floats = 0.5 / np.where(generated, generated.sum(), (~generated).sum())
    return weights


def calibration_error_by_chance(scored: Scored, samples: int) -> float:
    """Return the mean calibration error that these probabilities would have were they right, labels drawn by them.

    So few photos give even a perfect model that error (Roelofs et al. 2022, arXiv 2012.08668); seeded.
    """
    drawn = np.random.default_rng(0).random((samples, len(scored.photos))) < scored.balanced
    errors = np.abs(((scored.balanced - drawn) * class_weights(scored)) @ in_bins(scored)).sum(axis=1)
    return float(errors.mean())


def in_bins(scored: Scored) -> Floats:
    """Return 1 where a photo's balanced probability is in a bin, else 0, shape (N, CALIBRATION_BINS)."""
    bins = np.minimum((scored.balanced * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    members: Floats = np.eye(CALIBRATION_BINS)[bins]
    return members


def _all_figures(scored: Scored, weights: Floats) -> dict[str, Floats]:
    error = {"expected_calibration_error": calibration_error(scored, weights)}
    return ranking(scored, weights) | decisions(scored, weights) | error


def _with_intervals(
    scored: Scored, weights: Floats, figures_of: Callable[[Scored, Floats], dict[str, Floats]]
) -> Figures:
    resampled = figures_of(scored, weights)
    figures: Figures = {}
    for name, value in figures_of(scored, np.ones((1, len(scored.photos)))).items():
        figures |= {name: float(value[0]), f"{name}_ci95": percentile_interval(resampled[name])}
    return figures
