"""Stage `train`: images to the weights of the best epoch."""

import hashlib
import json
import shutil
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger
from pytorch_lightning.loggers.logger import DummyLogger
from safetensors.torch import save_file

from handler.transforms import to_views
from training import tracking
from training.data import datamodule, manifest
from training.files import Paths, refusals
from training.model import export
from training.model.module import DetectorModule, Features, HeadModule, read_features, starting_network
from training.params import Params, dump, parse_command_line

_DECISIVE = ("data.", "model.", "train.", "augment.")
CALIBRATION_PHOTOS: Final = 200


@contextmanager
def resumable(params: Params, paths: Paths, *, resume: bool) -> Iterator[Path | None]:
    """Yield the checkpoint to go on from, None for a training from the start; mark it as unfinished meanwhile.

    A training from the start removes the last checkpoint of another, which the next one must not take for its own.
    """
    last = paths.checkpoints / "last.ckpt"
    first = not tracking.follows_another_process()
    if first:
        paths.run.mkdir(parents=True, exist_ok=True)
        if not resume:
            last.unlink(missing_ok=True)
        paths.unfinished.write_text(_fingerprint(params), encoding="utf-8")
    yield last if last.is_file() else None
    if first:
        paths.unfinished.unlink()


def was_interrupted(params: Params, paths: Paths) -> bool:
    """Return whether a training with the same parameters and data was started in this run and did not finish."""
    return paths.unfinished.is_file() and paths.unfinished.read_text(encoding="utf-8") == _fingerprint(params)


def _fingerprint(params: Params) -> str:
    values = {key: value for key, value in tracking.flat(params).items() if key.startswith(_DECISIVE)}
    return hashlib.sha256(json.dumps([values, tracking.data_hash(params)]).encode()).hexdigest()


def run(
    params: Params, paths: Paths, *, resume: bool = False, fast_dev_run: bool = False, logger: Logger | None = None
) -> float:
    """Train, keep the epoch with the best dev AUROC, write its weights; return that AUROC.

    Args:
        params: Of the run.
        paths: Where checkpoints, log and weights go.
        resume: Go on from the run's last checkpoint where there is one.
        fast_dev_run: Train and validate on one batch, to see that all works; write nothing and return 0.
        logger: Logs the run beside `logs/metrics.csv`.

    Raises:
        StageError: The data folder breaks a rule, or the weights that `model.weights` asks for are not to be had.
    """
    pl.seed_everything(params.train.seed, workers=True, verbose=False)
    if params.model.blocks:
        return _train_head(params, paths, fast_dev_run=fast_dev_run, logger=logger)
    data = datamodule.PhotoDataModule(params)
    data.setup()
    module = DetectorModule(params, starting_network(params.model.spec(), params.model.weights))
    if fast_dev_run:
        _trainer(params, paths, fast_dev_run=True).fit(module, data)
        return 0.0
    # Without version counter: a new run in an old folder takes its place, or --resume would find the old one.
    best = ModelCheckpoint(paths.checkpoints, "best", monitor="val/auroc", mode="max", enable_version_counter=False)
    last = ModelCheckpoint(paths.checkpoints, "last", enable_version_counter=False)  # of every epoch, better or not
    with resumable(params, paths, resume=resume) as interrupted:
        callbacks = [
            best,
            last,
            EarlyStopping("val/auroc", mode="max", patience=params.train.early_stopping_patience),
            EMAWeightAveraging(decay=params.train.ema_decay, use_buffers=True),
            LearningRateMonitor("step"),
        ]
        trainer = _trainer(params, paths, callbacks=callbacks, logger=_loggers(paths, logger))
        if trainer.is_global_zero:
            dump(params, paths.used_params)
        trainer.fit(module, data, ckpt_path=interrupted, weights_only=False)
        if trainer.is_global_zero:
            # the epoch's averaged weights, without optimiser or Lightning's names
            module = DetectorModule.load_from_checkpoint(
                best.best_model_path, params=params, map_location="cpu", weights_only=False
            )
            weights = module.model.state_dict()
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, paths.weights)
            _write_graph(params, paths)
        trainer.strategy.barrier("export")  # the other processes of a training wait for the file
    return float(best.best_model_score or 0)


def _train_head(params: Params, paths: Paths, *, fast_dev_run: bool, logger: Logger | None) -> float:
    """Train the head of a frozen transformer on its features, all epochs; return the dev AUROC of the last."""
    spec = params.model.spec()
    network: Any = starting_network(spec, params.model.weights)
    train, dev = read_features(params, paths)
    trainer = (
        _trainer(params, paths, fast_dev_run=True)
        if fast_dev_run
        else _trainer(params, paths, logger=_loggers(paths, logger), enable_checkpointing=False)
    )
    module = HeadModule.fit(params, network.head.classifier, train, trainer, dev)
    if fast_dev_run:
        return 0.0
    dump(params, paths.used_params)
    network.head.classifier.load_state_dict(module.folded())
    print("rounding the weights to int8", flush=True)
    save_file(export.quantise(network, _calibration_views(params, train)), paths.weights)
    _write_graph(params, paths)
    return float(trainer.callback_metrics["val/auroc"])


def _calibration_views(params: Params, train: Features) -> Iterator[torch.Tensor]:
    """Yield batches of views of training images, as many of each class, that tell the range of the network's inputs."""
    generator = torch.Generator().manual_seed(params.train.seed)
    weights = torch.tensor(manifest.sampling_weights(train.photos, power=0))
    for index in torch.multinomial(weights, CALIBRATION_PHOTOS, replacement=True, generator=generator).tolist():
        yield from to_views(manifest.read_photo(params.data.root, train.photos[index]), params.model.spec())


def _write_graph(params: Params, paths: Paths) -> None:
    shutil.rmtree(paths.graph.parent, ignore_errors=True)
    paths.graph.parent.mkdir()
    export.write_graph(params.model.spec(), paths.weights, paths.graph)


def _loggers(paths: Paths, logger: Logger | None) -> list[Logger]:
    table = CSVLogger(paths.run, name="", version="logs", flush_logs_every_n_steps=1)
    return [table, logger] if logger else [table]


class _SteadyLogger(MLFlowLogger):
    """Logs a Trainer's figures to the stage's run, which is the stage's to end; a failing server stops no training."""

    def __init__(self, log: tracking.RunLog, uri: str) -> None:
        super().__init__(tracking_uri=uri, run_id=log.run_id)
        self.log = log

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.log.attempt(lambda _: super(_SteadyLogger, self).log_metrics(metrics, step))

    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Leave the parameters as they are: the stage has logged all of them."""

    def finalize(self, status: str = "success") -> None:
        """Leave the run open: the stage has more to log."""


def stage_logger(log: tracking.RunLog) -> Logger:
    """Return a stage's run as a logger for Lightning's Trainer; of several processes, the first alone logs."""
    return DummyLogger() if log.client is None else _SteadyLogger(log, log.client.tracking_uri)


def _trainer(params: Params, paths: Paths, **options: Any) -> pl.Trainer:  # noqa: ANN401 - Lightning's own
    train = params.train
    return pl.Trainer(
        default_root_dir=paths.run,
        max_epochs=train.epochs,
        accelerator=train.accelerator,
        devices=train.devices,
        precision=train.precision,
        deterministic=True,
        log_every_n_steps=10,
        reload_dataloaders_every_n_epochs=1,  # late epochs have larger windows
        enable_model_summary=False,
        **options,
    )


def main() -> None:
    """Run the stage from the command line."""
    params, paths, arguments = parse_command_line("train")
    resume = arguments.resume or (arguments.resume_interrupted and was_interrupted(params, paths))
    if arguments.fast_dev_run:
        with refusals("train"):
            run(params, paths, fast_dev_run=True)
        print("one batch was trained and validated; nothing was written")
        return
    with refusals("train"), tracking.tracked(params, paths, "train") as log:
        score = run(params, paths, resume=resume, logger=stage_logger(log))
        log.metrics({"train/best_auroc": score})
        log.artifact(paths.weights)
        log.artifact(paths.used_params)
    if not tracking.follows_another_process():
        print(f"dev AUROC {score:.4f}; weights in {paths.weights}")


if __name__ == "__main__":
    main()
