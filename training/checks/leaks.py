"""The leak report: how well file metadata and trivial pixel statistics alone separate the classes.

A detector can be right for such reasons on the data at hand and wrong everywhere else. What counts is the figure on
sources that the classifier did not see; how far the figure on seen sources lies above it is the data's confound.
"""

import io
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin
from pytorch_lightning.utilities.seed import isolate_rng
from rich.progress import track
from scipy.ndimage import laplace
from sklearn import ensemble, metrics, model_selection  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch.utils.data import DataLoader, Dataset

from training.data import datamodule, manifest
from training.evaluation.figures import Bools, Scored, percentile_interval, ranking
from training.params import Params

METADATA = (
    *("log_file_size", "width", "height", "log_aspect", "bits_per_pixel", "is_jpeg", "is_png", "is_webp", "channels"),
    *("is_progressive", "subsampling", "quantisation_tables", "luma_quantisation", "chroma_quantisation"),
)
CONTENT = ("log_file_size", "bits_per_pixel")
"""Features that follow from what is in the image where every image is saved alike."""
ABSENT = -1.0
"""What a feature of JPEG alone is for other formats."""
STATISTICS = (
    *("mean_red", "mean_green", "mean_blue", "deviation_red", "deviation_green", "deviation_blue"),
    *("saturation", "log_gradient", "log_laplacian", "near_white", "entropy"),
)
NEAR_WHITE = 240
MAX_PICTURES = 2000
FOLDS = 5
RESAMPLINGS = 500
QUALITY = 90
"""JPEG quality at which a training view is saved to read its metadata; the same for all."""
Features = NDArray[np.float64]
"""Shape (N, features), or (features,) of one image."""


def features(data: bytes) -> NDArray[np.float64]:
    """Return the features called METADATA, shape (14,), from the file's header; no pixel is decoded.

    Raises:
        OSError: Not an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong with an image is another check's matter
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            general = [
                math.log(len(data)),
                width,
                height,
                math.log(width / height),
                8 * len(data) / (width * height),
                *(float(image.format == name) for name in ("JPEG", "PNG", "WEBP")),
                len(image.getbands()),
                float(bool(image.info.get("progressive"))),
            ]
            return np.array([*general, *_coding(image)], dtype=np.float64)


def without_content(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an image's features without those of CONTENT."""
    return row[[name not in CONTENT for name in METADATA]]


def _coding(image: Image.Image) -> list[float]:
    """Chroma subsampling (0: 4:4:4, 1: 4:2:2, 2: 4:2:0), number of quantisation tables, sums of the first two."""
    tables = getattr(image, "quantization", None)
    if not tables:
        return [ABSENT] * 4
    sums = [float(sum(tables[key])) for key in sorted(tables)]
    return [float(JpegImagePlugin.get_sampling(image)), len(sums), sums[0], sums[1] if len(sums) > 1 else ABSENT]


def pixel_statistics(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the features called STATISTICS, shape (11,), of an RGB image of shape (3, H, W)."""
    channels = picture.astype(np.float64)
    grey = channels.mean(axis=0)
    high, low = channels.max(axis=0), channels.min(axis=0)
    gradient = [np.diff(grey, axis=axis).var() for axis in (0, 1)]
    shares = np.bincount(grey.astype(np.uint8).ravel(), minlength=256) / grey.size
    shares = shares[shares > 0]
    return np.array(
        [
            *channels.mean(axis=(1, 2)),
            *channels.std(axis=(1, 2)),
            ((high - low) / np.maximum(high, 1)).mean(),
            np.log1p(sum(gradient)),
            np.log1p(laplace(grey).var()),
            (low >= NEAR_WHITE).mean(),
            -(shares * np.log2(shares)).sum(),
        ]
    )


@dataclass(frozen=True)
class Auc:
    """An area under the ROC curve, pooled over folds, with its 95 % interval over the units that were held out."""

    auc: float
    distance: float
    interval: tuple[float, float]
    units: int


@dataclass(frozen=True)
class Leak:
    """How well features separate the classes on unseen and on seen sources; None if there are too few."""

    across_sources: Auc | None
    within_sources: Auc | None


@dataclass(frozen=True)
class LeakReport:
    """Leaks of so many of the images: of their files and their scale as they lie, and after the training pipeline."""

    pictures: int
    of: int
    metadata_of_files: Leak
    scale_of_files: Leak
    metadata_after_pipeline: Leak
    statistics_after_pipeline: Leak


def measure(photos: Sequence[manifest.Photo], params: Params) -> LeakReport:
    """Measure leaks on at most 2,000 images, drawn evenly over classes and sources; each must be there and decode."""
    seed = params.data.split_seed
    chosen = sample(photos, MAX_PICTURES, seed)
    files = [features((params.data.root / photo.path).read_bytes()) for photo in chosen]
    views = DataLoader(_Views(chosen, params), batch_size=None, num_workers=params.data.num_workers)
    rows = list(track(views, "taking training views", total=len(chosen)))
    encoded, statistics = zip(*rows, strict=True) if rows else ((), ())
    scales = [_scale(photo, file) for photo, file in zip(chosen, files, strict=True)]
    leaks = [leak(np.array(table), chosen, seed) for table in (files, scales, encoded, statistics)]
    return LeakReport(len(chosen), len(photos), *leaks)


def _scale(photo: manifest.Photo, file: Features) -> Features:
    """Return width and height as stored, in pixels, and by how much the image was scaled before (-1: not told)."""
    width, height = (file[METADATA.index(name)] for name in ("width", "height"))
    factor = width / float(photo.source_width) if photo.source_width.isdigit() else ABSENT
    return np.array([width, height, 1.0 if photo.view == "native" else factor])


def sample(photos: Sequence[manifest.Photo], size: int, seed: int) -> list[manifest.Photo]:
    """Return at most `size` images, half of each class, with as many of each of its sources as there are."""
    seen: Counter[tuple[str, str]] = Counter()
    ranked: dict[str, list[tuple[int, int]]] = {label: [] for label in manifest.LABELS}
    for index in np.random.default_rng(seed).permutation(len(photos)).tolist():
        photo = photos[index]
        ranked[photo.label].append((seen[photo.label, photo.source], index))
        seen[photo.label, photo.source] += 1
    kept = [index for ranks in ranked.values() for _, index in sorted(ranks)[: size // len(manifest.LABELS)]]
    return [photos[index] for index in sorted(kept)]


def leak(features: Features, photos: Sequence[manifest.Photo], seed: int) -> Leak:
    """Cross-validate a classifier of the images' features twice: whole sources held out, and groups held out."""
    units = (np.array([getattr(photo, held_out) for photo in photos]) for held_out in ("source", "group"))
    with threadpool_limits(1, user_api="openmp"):  # threads of so small fits wait for each other on a busy machine
        return Leak(*(_cross_validated(features, photos, of_photo, seed) for of_photo in units))


def _cross_validated(
    features: Features, photos: Sequence[manifest.Photo], units: NDArray[np.str_], seed: int
) -> Auc | None:
    labels = np.array([photo.label == manifest.LABELS[1] for photo in photos], dtype=np.bool_)
    folds = _folds(labels, units, seed)
    if folds is None:
        return None
    # Balanced weights: else a fold's prior alone, which is high where few of a class are held out, would rank images.
    model = ensemble.HistGradientBoostingClassifier(
        max_depth=3, max_iter=50, class_weight="balanced", random_state=seed
    )
    scores = model_selection.cross_val_predict(model, features, labels, cv=folds, method="predict_proba")[:, 1].round(6)
    auc = float(metrics.roc_auc_score(labels, scores))
    return Auc(auc, abs(auc - 0.5), _interval(Scored(photos, scores), units, seed), len(np.unique(units)))


def _folds(
    labels: Bools, units: NDArray[np.str_], seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]] | None:
    count = min(FOLDS, *(len(np.unique(units[labels == label])) for label in (False, True)))
    if count < 2:  # noqa: PLR2004 - something to learn from and something to predict
        return None
    splitter = model_selection.StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    folds = list(splitter.split(units, labels, units))
    return folds if all(len(np.unique(labels[seen])) == len(manifest.LABELS) for seen, _ in folds) else None


def _interval(scored: Scored, units: NDArray[np.str_], seed: int) -> tuple[float, float]:
    """Return the percentile bootstrap over whole units, those of each class resampled by themselves."""
    random, labels = np.random.default_rng(seed), scored.generated
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    strata = [np.flatnonzero(labels[first] == label) for label in (False, True)]
    weights = np.empty((RESAMPLINGS, len(units)))
    for row in weights:
        drawn = np.concatenate([random.choice(stratum, len(stratum)) for stratum in strata if len(stratum)])
        row[:] = np.bincount(drawn, minlength=len(first))[unit]
    both = (weights @ labels > 0) & (weights @ ~labels > 0)  # a unit may have both, and its class be the other's alone
    low, high = percentile_interval(ranking(scored, weights[both])["auroc"])
    return low, high


class _Views(Dataset[tuple[Features, Features]]):
    """Metadata and statistics of what training would see, one random view an image; the same for the same seed."""

    def __init__(self, photos: Sequence[manifest.Photo], params: Params) -> None:
        self.photos = photos
        self.params = params
        spec = params.model.spec()
        self.transform = datamodule.training_transform(spec, params.augment, params.train.input_size)
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[Features, Features]:
        with isolate_rng():
            torch.manual_seed(self.params.data.split_seed + index)
            [[view]] = self.transform(manifest.read_photo(self.params.data.root, self.photos[index]))
        picture = ((view * self.std + self.mean) * 255).round().clamp(0, 255).byte().numpy()
        file = io.BytesIO()
        Image.fromarray(picture.transpose(1, 2, 0)).save(file, "JPEG", quality=QUALITY)
        return without_content(features(file.getvalue())), pixel_statistics(picture)
