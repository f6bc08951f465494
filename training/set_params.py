"""Write settings into `params.yaml`, where DVC looks for them; comments and layout stay."""

import argparse
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from ruamel.yaml import YAML

from training.files import write_bytes
from training.params import InvalidParamsError, load

ROOT = Path(__file__).absolute().parent.parent
PRESETS = Path(__file__).with_name("presets")


def run(file: Path, overrides: Sequence[str]) -> None:
    """Write `section.key=value` overrides into a parameter file, in one step and only if all of them are valid.

    Raises:
        InvalidParamsError: An override names what does not exist, or a value is out of range; the file is as it was.
    """
    load(file, list(overrides))
    editor = YAML()
    editor.width = 200  # lines are not broken
    editor.preserve_quotes = True
    values = editor.load(file)
    for override in overrides:
        name, _, value = override.partition("=")
        section, _, key = name.partition(".")
        values[section][key] = YAML().load(value)
    text = io.StringIO()
    editor.dump(values, text)
    write_bytes(file, text.getvalue().encode())


def preset(name: str) -> Iterator[str]:
    """Yield a preset's settings as overrides."""
    for section, values in yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8")).items():
        for key, value in values.items():
            yield f"{section}.{key}={value}"


def named_files(file: Path, overrides: Sequence[str]) -> Iterator[str]:
    """Yield overrides by which data and weights that are named from here are found from another folder as well.

    Raises:
        InvalidParamsError: An override names what does not exist, or a value is out of range.
    """
    params = load(file, list(overrides))
    named = {"data.source": params.data.source, "model.weights": params.model.weights}
    for setting, value in named.items():
        if value not in {"cifake", "tiny", "package", "hub", "random"} and Path(value).exists():
            yield f"{setting}={json.dumps(str(Path(value).resolve()))}"


def prepare(folder: Path) -> Path:
    """Make a folder in which DVC runs the pipeline apart from this checkout, and return its parameter file.

    It has this checkout's stages, parameters and code, the latter linked, and a DVC of its own: what its stages write
    comes below the folder.
    """
    (folder / ".dvc").mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots", dirs_exist_ok=True)
    settings = (ROOT / ".dvc/config").read_text(encoding="utf-8")
    # Git ignores the folder, and DVC takes no stages from a place that Git ignores.
    write_bytes(folder / ".dvc/config", settings.replace("[core]\n", "[core]\n    no_scm = true\n").encode())
    for name in (".dvcignore", "dvc.yaml", "params.yaml"):
        write_bytes(folder / name, (ROOT / name).read_bytes())
    for name in ("handler", "training"):
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(ROOT / name, folder), target_is_directory=True)
    return folder / "params.yaml"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.set_params", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="SECTION.KEY=VALUE")
    parser.add_argument("--preset", choices=sorted(file.stem for file in PRESETS.glob("*.yaml")), help="settings first")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--params", type=Path, default=Path("params.yaml"))
    where.add_argument("--apart", type=Path, metavar="FOLDER", help="prepare a folder to run the pipeline in instead")
    arguments = parser.parse_args()
    overrides = [*(preset(arguments.preset) if arguments.preset else ()), *arguments.overrides]
    file = prepare(arguments.apart) if arguments.apart else arguments.params
    try:
        if arguments.apart:
            overrides += named_files(file, overrides)
        run(file, overrides)
    except InvalidParamsError as error:
        parser.error(str(error))
    print(f"{file}: {', '.join(overrides)}")


if __name__ == "__main__":
    main()
