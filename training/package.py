"""Stage `package`: weights, spec and the handler's code to the archive that TorchServe serves, with its model card."""

import dataclasses
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml

from handler import engines, torchserve_entry
from handler.spec import ModelSpec
from training.evaluation import goals, robustness
from training.files import MODEL_NAME, Paths, StageError, read_json, read_optional_json, read_spec, render, write_bytes
from training.model.export import write_graph
from training.params import Params
from training.tracking import stage

SERVING = {
    "minWorkers": 2,
    "maxWorkers": 2,
    "batchSize": 4,
    "maxBatchDelay": 1,  # ms; TorchServe reads 0 as 100
    "responseTimeout": 30,  # s; past it the worker is restarted
    "startupTimeout": 120,  # s
    "maxRetryTimeoutInSec": 60,  # how long a worker that fails to start is tried again
    "threads": 0,  # of the CPU, a worker; 0: as many as it may use, though others use them too: see docs/benchmarks.md
    "precision": engines.AUTO,  # f32, bf16, int8, or auto: the fastest that network and CPU have
}


def run(params: Params, paths: Paths) -> Path:  # noqa: ARG001 - every stage has the same signature
    """Write the archive, the figures and the model card into the model store; return the archive's path.

    Raises:
        StageError: The run has not been calibrated or evaluated, or the archiver failed.
    """
    spec, metrics = read_spec(paths), read_json(paths.metrics, "evaluate")
    used = yaml.safe_load(paths.used_params.read_text(encoding="utf-8"))
    card = model_card(spec, used, paths)
    reached = metrics["operating_points"][goals.headline_split(metrics)][spec.operating_point]
    measured = {name: reached[name] for name in ("true_positive_rate", "false_positive_rate")}
    archive = build_archive(dataclasses.replace(spec, **measured), paths.weights, paths.archive)
    write_bytes(paths.store / "metrics.json", paths.metrics.read_bytes())
    write_bytes(paths.model_card, card.encode())
    return archive


def model_card(spec: ModelSpec, used: Mapping[str, Any], paths: Paths) -> str:
    """Return the card of a calibrated spec as Markdown; `used` are the parameters of the training run.

    Models that ship beside it have their figures in the store, as `metrics-NAME.json`.

    Raises:
        StageError: The run has not been calibrated or evaluated.
    """
    metrics, tables = read_json(paths.metrics, "evaluate"), read_json(paths.tables, "evaluate")
    validation = read_optional_json(paths.data_validation)
    sections = {name: used[name] for name in ("model", "train", "augment")}
    return render(
        "model_card.md",
        spec=spec,
        metrics=metrics,
        tables=tables["splits"],
        others=[read_json(file, "evaluate") for file in sorted(paths.store.glob("metrics-*.json"))],
        calibration=read_json(paths.calibration, "calibrate"),
        crossvalidation=read_optional_json(paths.crossvalidation),
        leaks=(validation or {}).get("leaks"),
        goals=goals.goals(metrics, validation),
        conditions=robustness.DESCRIPTIONS,
        predicted_on=goals.headline_split(metrics),
        product_domains=tables["product_domains"],
        plots=_plot_links(paths),
        weights=PurePath(used["model"]["weights"]).name,
        spec_yaml=yaml.safe_dump(spec.to_mapping(), sort_keys=False),
        params_yaml=yaml.safe_dump(sections, sort_keys=False),
        data=_data(tables["data"]),
    )


def _data(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return how many images of which source, generators and licence each split has."""
    counts: Counter[tuple[str, ...]] = Counter()
    generators: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        key = (row["split"], row["label"], row["source"], row["licence"])
        counts[key] += row["n"]
        generators[key].add(row["generator"])
    order = sorted(counts, key=lambda key: (("train", "dev", "test").index(key[0]), key))
    return [(*key[:3], ", ".join(sorted(generators[key])), key[3], str(counts[key])) for key in order]


def _plot_links(paths: Paths) -> list[tuple[str, str]]:
    """Return title and link, relative to the model store, of each plot that was drawn."""
    return [
        (f"{file.parent.name}: {file.stem.replace('_', ' ')}", os.path.relpath(file, paths.store).replace(os.sep, "/"))
        for file in sorted(paths.figures.rglob("*.png"))
    ]


def build_archive(spec: ModelSpec, weights: Path, archive: Path, serving: Mapping[str, Any] | None = None) -> Path:
    """Pack an archive and return its path; its code is this checkout's `handler` package and nothing else of ours.

    Raises:
        StageError: There are no weights, or the archiver failed.
    """
    if not weights.is_file():
        raise StageError(f"no weights at {weights}: train first, with `make train`")
    settings = SERVING | dict(serving or {})
    archive.parent.mkdir(parents=True, exist_ok=True)
    entry = Path(torchserve_entry.__file__)
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder)
        config = temporary / "model-config.yaml"
        config.write_text(yaml.safe_dump(settings | {"spec": spec.to_mapping()}, sort_keys=False))
        extra = temporary / "extra"
        extra.mkdir()
        write_graph(spec, weights, extra / torchserve_entry.GRAPH)
        shutil.copytree(entry.parent, extra / "handler", ignore=shutil.ignore_patterns("__pycache__", entry.name))
        wiped = temporary / "tmp"  # by the archiver, which works in it
        wiped.mkdir()
        options = {
            "--model-name": MODEL_NAME,
            "--version": spec.version,
            "--serialized-file": weights,
            "--handler": entry,
            "--extra-files": extra,  # the archiver packs what is inside
            "--config-file": config,
            "--export-path": temporary,
        }
        command = [f"{sysconfig.get_path('scripts')}/torch-model-archiver", "--force"]
        command += [str(word) for option in options.items() for word in option]
        environment = os.environ | {"TMPDIR": str(wiped)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
        if done.returncode != 0:
            raise StageError(f"torch-model-archiver failed: {done.stderr.strip()}")
        shutil.move(temporary / f"{MODEL_NAME}.mar", archive)
    return archive


def main() -> None:
    """Run the stage from the command line."""
    with stage("package") as (params, paths, log):
        archive = run(params, paths)
        log.artifact(archive)
        log.artifact(paths.model_card)
    print(f"archive and model card in {archive.parent}")


if __name__ == "__main__":
    main()
