"""The model card, written from the figures and parameters of the run and from nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import yaml

from handler.spec import ModelSpec

_CARD = """\
# Model card: product photo detector {version}

Tells whether a product photo is a real photograph or AI-generated. Written by `training/package.py` from
`metrics.json`; do not edit.

## Intended use

A hint for people who review marketplace listings, with a heat map of the regions that spoke for the verdict. Not proof,
and not fit to punish anyone without a person's look: see the figures.

## Quality

What counts is the quality on unseen sources: those of which training had no photo, of either class.

{overall}

Intervals are 95 % percentile bootstraps over groups of related photos, each class resampled by itself. The decision
threshold is {threshold} on the calibrated probability.

- `dev` chose the epoch and fitted the temperature: its figures flatter.
- `test` was used for this report alone.

### By source

AUROC is taken against all photos of the other class in the same split; "flagged" is the share called AI-generated:
right for `ai_generated`, a false alarm for `real`.

{by_source}

## Method

`{architecture}` (timm) with one logit, {start}, trained by PyTorch Lightning with AdamW, a
one-cycle cosine schedule with warm-up and an exponential moving average of the weights. Both classes go through the
same random JPEG re-encoding, crop, scale, flip and blur. Classes are drawn alike and sources by the square root of
their size. The network sees the centred square of {crop_pct} of the shorter side, resized to {input_size} px.
Temperature {temperature} (arXiv 1706.04599). Heat maps: Grad-CAM (arXiv 1610.02391) on the last
convolution, of the evidence for the verdict given.

Parameters of the run:

```yaml
{params}```

## Data

Pictures, with metadata stripped, upright, RGB on white. The repository ships none of them.

{data}

"none stated" means that the source names no licence; check it before you train on it yourself.

## Limits

- Read a verdict with the tables in mind: a probability is no certainty, and quality differs much between sources.
- It judges pixels of one centred square: what lies outside the square is not looked at, and heat maps stay blank there.
- Real product photos that are retouched, cut out or on plain white are the likeliest false alarms; AI pictures that
  were scaled down or heavily compressed are the likeliest misses.
- Portraits, food and shoes are over-represented among the training pictures; generators newer than those listed may
  go unnoticed.
"""


def render(spec: ModelSpec, params: dict[str, Any], report: dict[str, Any]) -> str:
    """Return the card as Markdown; `params` and `report` are the run's parameters and `metrics.json`."""
    pretrained = params["model"]["pretrained"]
    return _CARD.format(
        version=spec.version,
        threshold=spec.threshold,
        architecture=spec.architecture,
        crop_pct=f"{spec.crop_pct:.0%}",
        input_size=spec.input_size,
        temperature=spec.temperature,
        start="from ImageNet weights" if pretrained else "from random weights (no ImageNet weights)",
        params=yaml.safe_dump({name: params[name] for name in ("train", "augment")}, sort_keys=False),
        overall=_overall(report["splits"]),
        by_source=_by_source(report["splits"]),
        data=_data(report["data"]),
    )


def _overall(splits: dict[str, Any]) -> str:
    header = ("split", "real / AI", "AUROC", "average precision", "balanced accuracy", "found", "false alarms", "ECE")
    rows = [
        (f"{split}, {which.replace('_', ' ')}", *_overall_row(result[which]))
        for split, result in splits.items()
        for which in ("unseen_sources", "all_sources")
        if result[which] and not (which == "all_sources" and result[which] == result["unseen_sources"])
    ]
    return _table(header, rows)


def _overall_row(f: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{f['n_real']} / {f['n_ai_generated']}",
        _with_interval(f["auroc"], f["auroc_ci95"]),
        f"{f['average_precision']:.3f}",
        _with_interval(f["balanced_accuracy"], f["balanced_accuracy_ci95"]),
        f"{f['true_positive_rate']:.1%}",
        f"{f['false_positive_rate']:.1%}",
        f"{f['expected_calibration_error']:.3f}",
    )


def _by_source(splits: dict[str, Any]) -> str:
    rows = (
        (split, f"`{name}`{_mark(name, result)}", str(f["n"]), f"{f['auroc']:.3f}", f"{f['flagged']:.1%}")
        for split, result in splits.items()
        for name, f in result["by_source"].items()
    )
    return _table(("split", "label/source", "n", "AUROC", "flagged"), rows)


def _mark(name: str, result: dict[str, Any]) -> str:
    return " (also in train)" if name.partition("/")[2] in result["sources_in_train"] else ""


def _data(data: list[dict[str, Any]]) -> str:
    counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
    generators: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in data:
        key = (row["split"], row["label"], row["source"], row["licence"])
        counts[key] += row["n"]
        generators[key].add(row["generator"])
    order = sorted(counts, key=lambda key: (("train", "dev", "test").index(key[0]), key))
    rows = ((*key[:3], ", ".join(sorted(generators[key])), key[3], str(counts[key])) for key in order)
    return _table(("split", "label", "source", "generator", "licence", "n"), rows)


def _with_interval(value: float, bounds: list[float]) -> str:
    low, high = bounds
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
