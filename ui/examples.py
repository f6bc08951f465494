"""Example photos that installed packages carry; nothing is downloaded."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# (label, package, file). All are photographs: the packages carry nothing AI-generated.
OFFERED = (
    ("Coffee cup", "skimage", "data/coffee.png"),
    ("Motorcycle", "skimage", "data/motorcycle_left.png"),
    ("Rocket", "skimage", "data/rocket.jpg"),
)


@dataclass(frozen=True, slots=True)
class Example:
    """A photo on this machine's disk, with its label."""

    label: str
    path: Path


def installed() -> tuple[Example, ...]:
    """The examples that are really there; none where their packages are not installed."""
    return tuple(_found())


def _found() -> Iterator[Example]:
    for label, package, file in OFFERED:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        path = Path(spec.origin).parent / file
        if path.is_file():
            yield Example(label, path)
