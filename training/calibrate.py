"""Stage `calibrate`: what makes probabilities honest, and the base rate of the operating point that ships.

All are fitted on sources of which the network saw nothing: the dev split, and the images that cross-validation left
out. The temperature follows Guo et al. 2017 (arXiv 1706.04599); an offset comes with it (Platt 1999), since a detector
leans to one side on such sources. Classes weigh alike, and within a class its sources, so that neither the balance of
classes nor the largest source is carried into the field; what is, is the base rate.
"""

import csv
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from training.data.manifest import LABELS, Photo, label_tensor, of_split, read_manifest, sampling_weights
from training.evaluation import figures, goals, plots
from training.files import Paths, require, write_bytes, write_json
from training.model.predict import predict
from training.params import Params
from training.tracking import stage


def run(params: Params, paths: Paths) -> dict[str, Any]:
    """Fit the calibration; write the finished ModelSpec, the report and the diagram; return the report.

    Raises:
        StageError: The data folder breaks a rule, or the run has no weights.
    """
    require(paths.weights, "train")
    everything = read_manifest(params.data.root, params.data.manifest)
    dev = of_split(everything, "dev")
    left_out, left_out_logits = _left_out(paths.out_of_fold, everything)
    photos, logits = [*dev, *left_out], torch.cat([predict(params, paths, dev), left_out_logits])
    labels = label_tensor(photos)
    temperature, offset = fit(logits, labels, source_weights(photos))
    balanced = figures.score(photos, logits, params.model.spec(temperature, offset))
    products = frozenset(params.evaluate.product_domains)
    base_rates = goals.operating_points(balanced, products)
    point = params.calibrate.operating_point
    spec = params.model.spec(temperature, offset, base_rates[point], point)
    before, after = figures.score(photos, logits, params.model.spec()), figures.score(photos, logits, spec)
    report: dict[str, Any] = {
        "model_version": spec.version,
        "temperature": temperature,
        "offset": offset,
        "base_rate": spec.base_rate,
        "operating_point": point,
        "n_real": int((labels == 0).sum()),
        "n_ai_generated": int(labels.sum()),
        "before": calibration(before),
        "after": calibration(after),
        "cross_fitted": cross_fitted(photos, logits, params),
        "operating_points": goals.rates_at(base_rates, photos, logits, spec, params.evaluate.bootstrap_samples),
        "false_alarms_by_source": goals.by_source(balanced, products, point),
    }
    write_bytes(paths.spec, yaml.safe_dump(spec.to_mapping(), sort_keys=False).encode())
    write_json(paths.calibration, report)
    plots.reliability({"before": before, "after": after}, paths.figures / "calibrate" / "reliability.png")
    return report


def fit(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> tuple[float, float]:
    """Return temperature T (0.05..20) and offset o (-20..20) that minimise the log loss of sigmoid((logits - o) / T).

    Logits, labels and weights have shape (N,), with both labels among them. Four decimals.
    """
    log_temperature, offset = torch.zeros((), requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature, offset], max_iter=100, line_search_fn="strong_wolfe")

    def bounded() -> tuple[torch.Tensor, torch.Tensor]:
        return log_temperature.clamp(math.log(0.05), math.log(20)).exp(), offset.clamp(-20, 20)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        temperature, centre = bounded()
        scaled = (logits - centre) / temperature
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scaled, labels, weights, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    temperature, centre = (found.detach() for found in bounded())
    return round(float(temperature), 4), round(float(centre.nan_to_num()), 4)


def calibration(scored: figures.Scored) -> dict[str, float]:
    """Return the expected calibration error and the negative log-likelihood in nats, weighed as the fit is."""
    right = np.where(scored.generated, scored.balanced, 1 - scored.balanced).clip(np.finfo(np.float64).tiny)
    weights = source_weights(scored.photos).double().numpy()
    gaps = (weights * (scored.balanced - scored.generated)) @ figures.in_bins(scored)
    return {
        "expected_calibration_error": float(np.abs(gaps).sum()),
        "negative_log_likelihood": float(-np.log(right) @ weights),
    }


def cross_fitted(photos: Sequence[Photo], logits: torch.Tensor, params: Params) -> dict[str, float] | None:
    """Return the calibration of each source by a fit on the others; None where a class has a single source.

    Logits have the shape (N,).
    """
    probabilities = np.empty(len(photos))
    for source in {photo.source for photo in photos}:
        left_out = np.array([photo.source == source for photo in photos])
        others = [photo for photo in photos if photo.source != source]
        if {photo.label for photo in others} != set(LABELS):
            return None
        spec = params.model.spec(*fit(logits[~left_out], label_tensor(others), source_weights(others)))
        probabilities[left_out] = figures.score(photos, logits, spec).probabilities[left_out]
    return calibration(figures.Scored(photos, probabilities))


def source_weights(photos: Sequence[Photo]) -> torch.Tensor:
    """Return weights of images, shape (N,), by which classes weigh alike, and within a class its sources."""
    return (
        torch.tensor(sampling_weights([dataclasses.replace(photo, view="") for photo in photos], power=0)).float() / 2
    )


def _left_out(file: Path, photos: Sequence[Photo]) -> tuple[list[Photo], torch.Tensor]:
    """Return the images that cross-validation left out, with their logits; none where it has not run."""
    if not file.is_file():
        return [], torch.empty(0)
    by_path = {photo.path: photo for photo in photos if photo.split == "train"}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["path"] in by_path]
    return [by_path[row["path"]] for row in rows], torch.tensor([float(row["logit"]) for row in rows])


def main() -> None:
    """Run the stage from the command line."""
    with stage("calibrate") as (params, paths, log):
        report = run(params, paths)
        fitted = {name: report[name] for name in ("temperature", "offset", "base_rate")}
        errors = {f"ece_{when}": report[when]["expected_calibration_error"] for when in ("before", "after")}
        log.metrics({f"calibrate/{name}": value for name, value in (fitted | errors).items()})
        log.artifact(paths.calibration)
        log.artifact(paths.figures / "calibrate")
    found = ", ".join(f"{name} {value:.4f}" for name, value in fitted.items())
    print(f"{found}; spec in {paths.spec}")


if __name__ == "__main__":
    main()
