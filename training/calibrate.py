"""Stage `calibrate`: what makes probabilities honest, and the base rate of the operating point that ships.

All are fitted on the dev split, of which training saw nothing. The temperature follows Guo et al. 2017
(arXiv 1706.04599); an offset comes with it (Platt 1999), since a detector leans to one side on sources that it never
saw. Both classes weigh alike, so dev's class balance is not carried into the field; what is, is the base rate.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.nn.functional import binary_cross_entropy_with_logits

from training.atomic import write_bytes
from training.command_line import parse_command_line
from training.data import LABELS, InvalidDataError, Photo, of_split
from training.datamodule import PhotoDataModule
from training.metrics import figures
from training.metrics.scored import Scored, score
from training.metrics.thresholds import operating_points, rates_at
from training.params import Params
from training.paths import Paths
from training.predict import predict
from training.reports import plots
from training.reports.files import MissingReportError, require, write_json
from training.tracking.stage import tracked


def run(params: Params, paths: Paths) -> dict[str, Any]:
    """Fit the calibration; write the finished ModelSpec, the report and the diagram; return the report.

    Raises:
        InvalidDataError: The data folder breaks a rule.
        MissingReportError: The run has no weights.
    """
    require(paths.weights, "train")
    data = PhotoDataModule(params)
    data.setup()
    photos = of_split(data.photos, "dev")
    logits, labels = predict(data, paths, photos), label_tensor(photos)
    temperature, offset = fit(logits, labels)
    base_rates = operating_points(score(photos, logits, params.model.spec(temperature, offset)))
    point = params.calibrate.operating_point
    spec = params.model.spec(temperature, offset, base_rates[point], point)
    before, after = score(photos, logits, params.model.spec()), score(photos, logits, spec)
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
        "operating_points": rates_at(base_rates, photos, logits, spec, params.evaluate.bootstrap_samples),
    } | _out_of_fold_check(paths.out_of_fold)
    write_bytes(paths.spec, yaml.safe_dump(spec.to_mapping(), sort_keys=False).encode())
    write_json(paths.calibration, report)
    plots.reliability({"before": before, "after": after}, paths.figures / "calibrate" / "reliability.png")
    return report


def fit(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return temperature T (0.05..20) and offset o (-20..20) that minimise the log loss of sigmoid((logits - o) / T).

    Logits and labels have shape (N,), with both labels among them; each class has half of the weight. Four decimals.
    """
    weights = torch.where(labels == 1, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())
    log_temperature, offset = torch.zeros((), requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature, offset], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        scaled = (logits - offset) / log_temperature.exp()
        loss = binary_cross_entropy_with_logits(scaled, labels, weights, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    temperature = log_temperature.detach().exp().clamp(0.05, 20)
    return round(float(temperature), 4), round(float(offset.detach().nan_to_num().clamp(-20, 20)), 4)


def calibration(scored: Scored) -> dict[str, float]:
    """Return the expected calibration error and the negative log-likelihood in nats, both classes weighing alike."""
    right = np.where(scored.generated, scored.balanced, 1 - scored.balanced).clip(np.finfo(np.float64).tiny)
    return {
        "expected_calibration_error": float(figures.calibration_error(scored, np.ones((1, len(scored.photos))))[0]),
        "negative_log_likelihood": float(-np.log(right) @ figures.class_weights(scored)),
    }


def label_tensor(photos: Sequence[Photo]) -> torch.Tensor:
    """Return the labels as floats, shape (N,); 1 is AI-generated."""
    return torch.tensor([float(LABELS.index(photo.label)) for photo in photos])


def _out_of_fold_check(file: Path) -> dict[str, Any]:
    """Return what cross-validation's left-out sources would give, where it has run."""
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        return {}
    logits = torch.tensor([float(row["logit"]) for row in rows])
    labels = torch.tensor([float(LABELS.index(row["label"])) for row in rows])
    temperature, offset = fit(logits, labels)
    return {"out_of_fold": {"n": len(rows), "temperature": temperature, "offset": offset}}


def main() -> None:
    """Run the stage from the command line."""
    params, paths, _ = parse_command_line("calibrate")
    try:
        with tracked(params, paths, "calibrate") as log:
            report = run(params, paths)
            log.metrics(
                {
                    "calibrate/temperature": report["temperature"],
                    "calibrate/offset": report["offset"],
                    "calibrate/base_rate": report["base_rate"],
                    "calibrate/ece_before": report["before"]["expected_calibration_error"],
                    "calibrate/ece_after": report["after"]["expected_calibration_error"],
                }
            )
            log.artifact(paths.calibration)
            log.artifact(paths.figures / "calibrate")
    except (InvalidDataError, MissingReportError) as error:
        raise SystemExit(f"calibrate: {error}") from error
    found = ", ".join(f"{name} {report[name]:.4f}" for name in ("temperature", "offset", "base_rate"))
    print(f"{found}; spec in {paths.spec}")


if __name__ == "__main__":
    main()
