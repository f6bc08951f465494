"""Stage `calibrate`: the temperature that makes probabilities honest on the dev split (arXiv 1706.04599)."""

from __future__ import annotations

import torch
import yaml
from torch.nn.functional import binary_cross_entropy_with_logits

from training.command_line import parse_command_line
from training.data import LABELS
from training.datamodule import PhotoDataModule
from training.params import Params
from training.paths import Paths
from training.predict import predict


def run(params: Params, paths: Paths) -> float:
    """Fit the temperature on dev, which training did not see; write the finished ModelSpec; return the temperature."""
    photos, logits = predict(PhotoDataModule(params), paths, "dev")
    labels = torch.tensor([float(LABELS.index(photo.label)) for photo in photos])
    temperature = round(fit_temperature(logits, labels), 4)
    paths.spec.write_text(yaml.safe_dump(params.model.spec(temperature).to_mapping(), sort_keys=False))
    return temperature


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the T that minimises the log loss of sigmoid(logits / T), both of shape (N,); bounded to 0.05..20."""
    log_temperature = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(logits / log_temperature.exp(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return float(log_temperature.detach().exp().clamp(0.05, 20))


def main() -> None:
    """Run the stage from the command line."""
    params, paths, _ = parse_command_line("calibrate")
    print(f"temperature {run(params, paths):.4f}; spec in {paths.spec}")


if __name__ == "__main__":
    main()
