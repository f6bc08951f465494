"""Stage `reference`: what scores and images look like on the calibration split; drift is distance from it.

The file says of each statistic how it is taken, so that a gateway can take the same of what it serves.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from handler import images, statistics
from handler.spec import ModelSpec, confidence, decide
from training.data.manifest import Photo, of_split, read_manifest
from training.evaluation.figures import Floats
from training.files import Paths, read_spec, write_json
from training.model.predict import predict
from training.params import Params
from training.tracking import stage

QUANTILES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
BINS = 10
SUMMARY = (
    "mean; std with N in the denominator; quantiles by linear interpolation (numpy.quantile), keyed by probability"
)


def run(params: Params, paths: Paths) -> dict[str, Any]:
    """Write the statistics of dev's scores and images, and return them.

    Raises:
        StageError: The data folder breaks a rule, or the run has not been calibrated.
    """
    spec = read_spec(paths)
    photos = of_split(read_manifest(params.data.root, params.data.manifest), "dev")
    verdicts = [decide(logit, spec) for logit in predict(params, paths, photos).tolist()]
    reference = {
        "model_version": spec.version,
        "split": "dev",
        "n": len(photos),
        "definition": f"scores and pictures of the calibration split; of each statistic: {SUMMARY}",
        "scores": score_statistics(np.array([verdict.probability for verdict in verdicts]), spec),
        "inputs": input_statistics(params.data.root, photos),
    }
    write_json(paths.reference, reference)
    return reference


def score_statistics(probabilities: Floats, spec: ModelSpec) -> dict[str, Any]:
    """Return the statistics of served probabilities, shape (N,)."""
    counts, edges = np.histogram(probabilities, bins=BINS, range=(0, 1))
    low = [confidence(probability) == "low" for probability in probabilities.tolist()]
    return {
        "definition": "the answer's `probability`: calibrated for the base rate, of being AI-generated, four decimals",
        "base_rate": spec.base_rate,
        **summary(probabilities),
        "histogram": {
            "definition": "share of the scores in ten bins of equal width over 0..1; a bin holds its lower edge, the "
            "last one also its upper",
            "edges": edges.tolist(),
            "share": (counts / len(probabilities)).tolist(),
        },
        "ai_generated_ratio": {
            "definition": f"share of verdicts `{spec.labels[1]}`: probability of 0.5 or more",
            "value": float((probabilities >= 0.5).mean()),  # noqa: PLR2004 - handler.spec's
        },
        "low_confidence_ratio": {
            "definition": "share of answers whose `confidence` is low: probability between 0.3 and 0.7, without these",
            "value": float(np.mean(low)),
        },
    }


def input_statistics(root: Path, photos: Sequence[Photo]) -> dict[str, Any]:
    """Return the statistics of the images' files; a progress bar shows the way."""
    rows = []
    for photo in track(photos, "measuring images"):
        content = (root / photo.path).read_bytes()
        rows.append(statistics.measure(images.decode(content), len(content)))
    return {
        name: {"definition": definition, **summary(np.array([row[name] for row in rows]))}
        for name, definition in statistics.DEFINITIONS.items()
    }


def summary(values: Floats) -> dict[str, Any]:
    """Return mean, standard deviation and quantiles of values, shape (N,)."""
    quantiles = np.quantile(values, QUANTILES)
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "quantiles": {str(name): float(value) for name, value in zip(QUANTILES, quantiles, strict=True)},
    }


def main() -> None:
    """Run the stage from the command line."""
    with stage("reference") as (params, paths, log):
        run(params, paths)
        log.artifact(paths.reference)
    print(f"reference statistics in {paths.reference}")


if __name__ == "__main__":
    main()
