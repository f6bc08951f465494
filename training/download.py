"""Stage `download`: images with a manifest in `data.root`, from CIFAKE's hub, a folder, or made up."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from training.data import manifest, sources
from training.files import Paths, StageError, write_json
from training.params import DataParams, Params
from training.tracking import stage

ORIGIN = "origin.json"
"""What the images were asked for with, beside the manifest."""


def run(
    params: Params,
    paths: Paths,  # noqa: ARG001 - every stage has the same signature
    published: Callable[[Path], Iterable[sources.Entry]] = sources.cifake_entries,
) -> list[manifest.Photo]:
    """Fill `data.root` and return its rows; what is there already, whole and from the same parameters, stays.

    The folder is built beside `data.root` and takes its place when it is complete. Downloads stay in
    `data.root`.download, so that one that broke off goes on.

    Raises:
        StageError: CIFAKE cannot be had; `data.root` is as it was.
        StageError: The source breaks a rule, or `data.root` has files that are not ours; it is as it was.
    """
    data = params.data
    root = data.root.resolve()
    _refuse_to_lose(root, data)
    if _is_current(root, data):
        return [manifest.Photo(**row) for row in manifest.read_rows(root / data.manifest)]
    partial, old = (root.with_name(f"{root.name}.{suffix}") for suffix in ("partial", "replaced"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        if data.source == "cifake":
            kept = data.root.with_name(f"{data.root.name}.download")
            photos = sources.fill_from_cifake(data, partial, published(kept))
        elif data.source == "tiny":
            photos = sources.fill_with_tiny(data, partial)
        else:
            photos = sources.fill_from_folder(data, partial)
        manifest.write_manifest(partial / data.manifest, photos)
        write_json(partial / ORIGIN, _origin(data))
        manifest.write_checksums(partial)
        shutil.rmtree(old, ignore_errors=True)
        if root.is_dir():
            root.rename(old)
        partial.rename(root)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return photos


def _refuse_to_lose(root: Path, data: DataParams) -> None:
    source = Path(data.source).resolve()
    if source == root or root in source.parents:
        raise StageError(f"data.source {data.source} is in data.root, which download replaces: set another data.root")
    if changed := manifest.changed(root):
        raise StageError(
            f"data.root {data.root} has files that download did not write ({changed[0]}, {len(changed)} in all): "
            "set another data.root, or move them away"
        )


def _is_current(root: Path, data: DataParams) -> bool:
    """Whether the images of a hub need not be fetched again; folders may have changed, and making is quick."""
    file = root / ORIGIN
    return data.source == "cifake" and file.is_file() and json.loads(file.read_text("utf-8")) == _origin(data)


def _origin(data: DataParams) -> dict[str, Any]:
    chosen = {name: getattr(data, name) for name in ("source", "per_class", "split_seed")}
    return chosen | {"manifest": str(data.manifest)}


def main() -> None:
    """Run the stage from the command line."""
    with stage("download", OSError) as (params, paths, log):
        photos = run(params, paths)
        sizes = Counter(photo.split for photo in photos)
        log.metrics({f"data/{split}": float(count) for split, count in sizes.items()})
        log.artifact(params.data.root / params.data.manifest)
    listed = ", ".join(f"{count} {split}" for split, count in sorted(sizes.items()))
    print(f"{len(photos)} images in {params.data.root} ({listed})")
    if params.data.source == "cifake":
        print("CIFAKE is one source: figures on its test split say nothing about images from elsewhere")


if __name__ == "__main__":
    main()
