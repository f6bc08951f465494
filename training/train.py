"""Stage `train`: photos to the weights of the best epoch."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from safetensors.torch import save_file

from training.command_line import parse_command_line
from training.data import InvalidDataError
from training.datamodule import PhotoDataModule
from training.module import DetectorModule
from training.params import Params, dump
from training.paths import Paths


class PretrainedUnavailableError(RuntimeError):
    """The hub that holds pretrained weights did not answer."""


def run(params: Params, paths: Paths, *, resume: bool = False) -> float:
    """Train, keep the epoch with the best dev AUROC, write its weights; return that AUROC.

    Raises:
        InvalidDataError: The data folder breaks a rule.
        PretrainedUnavailableError: `model.pretrained` is true and the hub cannot be reached.
    """
    pl.seed_everything(params.train.seed, workers=True, verbose=False)
    data = PhotoDataModule(params)
    data.setup()
    module = _build_module(params)
    dump(params, paths.used_params)
    best = ModelCheckpoint(
        paths.checkpoints,
        "best",
        monitor="val/auroc",
        mode="max",
        save_last=True,
        enable_version_counter=False,  # a new run in an old folder takes its place, or --resume would find the old one
    )
    last = paths.checkpoints / "last.ckpt"
    trainer = _trainer(params, paths, best)
    trainer.fit(module, data, ckpt_path=last if resume and last.is_file() else None, weights_only=False)
    export_weights(params, Path(best.best_model_path), paths.weights)
    return float(best.best_model_score or 0)


def export_weights(params: Params, checkpoint: Path, weights: Path) -> None:
    """Write a checkpoint's network as safetensors, without optimiser or Lightning names."""
    module = DetectorModule.load_from_checkpoint(checkpoint, params=params, map_location="cpu", weights_only=False)
    save_file({name: tensor.contiguous() for name, tensor in module.model.state_dict().items()}, weights)


def _build_module(params: Params) -> DetectorModule:
    try:
        return DetectorModule(params, pretrained=params.model.pretrained)
    except OSError as error:  # what timm's hub client raises when it cannot reach the hub
        if not params.model.pretrained:
            raise
        raise PretrainedUnavailableError(
            f"cannot load pretrained weights of {params.model.architecture} from the model hub; "
            "to train from scratch set model.pretrained: false (make train SET=model.pretrained=false)"
        ) from error


def _trainer(params: Params, paths: Paths, checkpoint: ModelCheckpoint) -> pl.Trainer:
    train = params.train
    return pl.Trainer(
        default_root_dir=paths.run,
        max_epochs=train.epochs,
        accelerator=train.accelerator,
        devices=train.devices,
        precision=train.precision,
        deterministic=True,
        logger=CSVLogger(paths.run, name="", version="logs"),
        log_every_n_steps=10,
        enable_model_summary=False,
        callbacks=[
            checkpoint,
            EarlyStopping("val/auroc", mode="max", patience=train.early_stopping_patience),
            EMAWeightAveraging(decay=train.ema_decay, use_buffers=True),
            LearningRateMonitor("step"),
        ],
    )


def main() -> None:
    """Run the stage from the command line."""
    params, paths, arguments = parse_command_line("train")
    try:
        score = run(params, paths, resume=arguments.resume)
    except (InvalidDataError, PretrainedUnavailableError) as error:
        raise SystemExit(f"train: {error}") from error
    print(f"dev AUROC {score:.4f}; weights in {paths.weights}")


if __name__ == "__main__":
    main()
