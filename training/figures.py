"""Figures of a detector on labelled photos, with intervals that respect groups of related photos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    binary_recall,
    binary_specificity,
)

from training.data import LABELS, Photo

Figures = dict[str, float | int | list[float]]
Figure = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def auroc(probabilities: torch.Tensor, labels: torch.Tensor, threshold: float) -> torch.Tensor:  # noqa: ARG001 - a Figure
    """Return the area under the ROC curve."""
    return binary_auroc(probabilities, labels)


def balanced_accuracy(probabilities: torch.Tensor, labels: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return the mean of the true positive and the true negative rate at a threshold."""
    flagged = (probabilities >= threshold).int()
    return (binary_recall(flagged, labels) + binary_specificity(flagged, labels)) / 2


def overall(photos: Sequence[Photo], probabilities: torch.Tensor, threshold: float, bootstrap_samples: int) -> Figures:
    """Return ranking, decision and calibration figures; the two main ones with 95 % intervals."""
    labels = label_tensor(photos)
    flagged = (probabilities >= threshold).int()
    return {
        "n_real": int((labels == 0).sum()),
        "n_ai_generated": int(labels.sum()),
        "auroc": float(auroc(probabilities, labels, threshold)),
        "auroc_ci95": interval(auroc, photos, probabilities, threshold, bootstrap_samples),
        "average_precision": float(binary_average_precision(probabilities, labels)),
        "balanced_accuracy": float(balanced_accuracy(probabilities, labels, threshold)),
        "balanced_accuracy_ci95": interval(balanced_accuracy, photos, probabilities, threshold, bootstrap_samples),
        "true_positive_rate": float(binary_recall(flagged, labels)),
        "false_positive_rate": 1 - float(binary_specificity(flagged, labels)),
        "expected_calibration_error": float(binary_calibration_error(probabilities, labels, n_bins=10)),
    }


def by_source(photos: Sequence[Photo], probabilities: torch.Tensor, threshold: float) -> dict[str, Figures]:
    """Return, for each source with its label, the AUROC against the whole other class and the share flagged as AI."""
    labels = label_tensor(photos)
    names = [f"{photo.label}/{photo.source}" for photo in photos]
    figures: dict[str, Figures] = {}
    for name in sorted(set(names)):
        inside = torch.tensor([other == name for other in names])
        against = inside | (labels != labels[inside][0])
        figures[name] = {
            "n": int(inside.sum()),
            "auroc": float(binary_auroc(probabilities[against], labels[against])),
            "flagged": float((probabilities[inside] >= threshold).float().mean()),
        }
    return figures


def interval(
    figure: Figure, photos: Sequence[Photo], probabilities: torch.Tensor, threshold: float, samples: int
) -> list[float]:
    """Return a 95 % percentile interval by a bootstrap over groups, each class resampled by itself (seeded)."""
    generator = torch.Generator().manual_seed(0)
    labels = label_tensor(photos)
    classes = [_groups(photos, label) for label in LABELS]
    values = []
    for _ in range(samples):
        chosen = torch.cat([_resample(groups, generator) for groups in classes])
        values.append(figure(probabilities[chosen], labels[chosen], threshold))
    return torch.stack(values).quantile(torch.tensor([0.025, 0.975])).tolist()


def label_tensor(photos: Sequence[Photo]) -> torch.Tensor:
    """Return the labels as integers, shape (N,); 1 is AI-generated."""
    return torch.tensor([LABELS.index(photo.label) for photo in photos])


def _groups(photos: Sequence[Photo], label: str) -> list[torch.Tensor]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        if photo.label == label:
            members[photo.group].append(index)
    return [torch.tensor(indices) for indices in members.values()]


def _resample(groups: list[torch.Tensor], generator: torch.Generator) -> torch.Tensor:
    drawn = torch.randint(len(groups), (len(groups),), generator=generator).tolist()
    return torch.cat([groups[index] for index in drawn])
