"""The preprocessing that a model is evaluated by and the one that it is served with are one."""

import csv
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from handler import network
from handler.transforms import Views
from tests.handler.pictures import coffee, encode, orientation, photo
from training import params
from training.data.datamodule import PhotoDataModule
from training.data.manifest import Photo, of_split
from training.package import build_archive
from training.params import Params

pytestmark = pytest.mark.slow

SERVE = """
import sys
from pathlib import Path
folder, out, *pictures = sys.argv[1:]
sys.path.insert(0, folder)
import handler
assert Path(handler.__file__).parent == Path(folder) / "handler"
import yaml
from safetensors.torch import save_file
from handler.images import decode
from handler.spec import ModelSpec
from handler.transforms import to_views
spec = ModelSpec.from_mapping(yaml.safe_load(Path("model-config.yaml").read_text())["spec"])
views = {picture: to_views(decode(Path(picture).read_bytes()), spec) for picture in pictures}
save_file({f"{picture} {size}": alike for picture, seen in views.items() for size, alike in enumerate(seen)}, out)
"""


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    alpha = photo(300, 200)
    alpha.putalpha(Image.linear_gradient("L").resize(alpha.size))
    contents = {
        "coffee.png": coffee().read_bytes(),
        "rotated.jpg": encode(photo(301, 199), "JPEG", exif=orientation(6)),
        "alpha.png": encode(alpha, "PNG"),
        "small.webp": encode(photo(90, 61), "WEBP"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in contents]


def chosen_params(root: Path) -> Params:
    view = (
        "model.architecture=test_efficientnet",
        "model.input_size=200",
        "model.crop_pct=0.85",
        "model.details=2",
        "model.detail_size=160",
    )
    return params.load(Path("params.yaml"), [f"data.root={root}", "data.num_workers=0", *view])


def evaluated(chosen: Params, pictures: Sequence[Path]) -> list[Views]:
    """The pictures as the dev split of a manifest, through the data module."""
    rows = [
        asdict(Photo(picture.name, label, "dev", "a", "none", "cups", picture.stem, "CC0"))
        for picture, label in zip(pictures, ["real", "ai_generated"] * len(pictures), strict=False)
    ]
    with (chosen.data.root / chosen.data.manifest).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    data = PhotoDataModule(chosen)
    data.setup()
    dataset = data.dataset(of_split(data.photos, "dev"))
    return [dataset[index][0] for index in range(len(dataset))]


def served(chosen: Params, pictures: Sequence[Path], folder: Path) -> list[Views]:
    """The pictures through the code and the spec of a packed archive, in a process that sees nothing else of ours."""
    spec = chosen.model.spec(temperature=1.7)
    save_file(network.build(spec).state_dict(), folder / "model.safetensors")
    archive = build_archive(spec, folder / "model.safetensors", folder / "store" / "a.mar")
    unpacked = folder / "unpacked"
    zipfile.ZipFile(archive).extractall(unpacked)
    command = [sys.executable, "-I", "-c", SERVE, str(unpacked), str(folder / "served"), *map(str, pictures)]
    done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    tensors = load_file(folder / "served")
    return [[tensors[f"{picture} {size}"] for size in range(2)] for picture in pictures]


def test_one_picture_through_the_data_module_and_through_the_archive_is_one_tensor(
    pictures: list[Path], tmp_path: Path
) -> None:
    chosen = chosen_params(tmp_path)
    ours, theirs = evaluated(chosen, pictures), served(chosen, pictures, tmp_path)
    assert [[tensor.shape for tensor in views] for views in ours] == [[(1, 3, 200, 200), (2, 3, 160, 160)]] * 4
    for picture, first, second in zip(pictures, ours, theirs, strict=True):
        assert all(map(torch.equal, first, second)), picture.name
