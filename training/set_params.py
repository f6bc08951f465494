"""Write settings into `params.yaml`, where DVC looks for them; comments and layout stay."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from ruamel.yaml import YAML

from training.atomic import write_bytes
from training.params import InvalidParamsError, load

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


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.set_params", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="SECTION.KEY=VALUE")
    parser.add_argument("--preset", choices=sorted(file.stem for file in PRESETS.glob("*.yaml")), help="settings first")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    overrides = [*(preset(arguments.preset) if arguments.preset else ()), *arguments.overrides]
    try:
        run(arguments.params, overrides)
    except InvalidParamsError as error:
        parser.error(str(error))
    print(f"{arguments.params}: {', '.join(overrides)}")


if __name__ == "__main__":
    main()
