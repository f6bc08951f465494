"""Fill in the manifest of Cloud Run: `python3 -m deploy.cloud_run --project ... --region ... --tag ...` prints it."""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

from deploy.layout import ROOT, StackError

MANIFEST = ROOT / "deploy/cloud-run/service.yaml"
FORMS = {
    "PROJECT": r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
    "REGION": r"[a-z]+-[a-z]+[0-9]+",
    "REPOSITORY": r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?",
    "TAG": r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}",
}
EXAMPLES = {
    "PROJECT": "my-project",
    "REGION": "europe-west1",
    "REPOSITORY": "product-photo-detector",
    "TAG": "3f2c1a9b7d4e",
}


def main() -> None:
    """Print the manifest, or one line that names a missing or invalid value."""
    parser = argparse.ArgumentParser(prog="python -m deploy.cloud_run", description=__doc__)
    for name in FORMS:
        parser.add_argument(f"--{name.lower()}", dest=name, default="", help=f"for example {EXAMPLES[name]}")
    try:
        sys.stdout.write(render(MANIFEST, vars(parser.parse_args())))
    except StackError as error:
        sys.exit(f"deploy: {error}")


def render(manifest: Path, values: Mapping[str, str]) -> str:
    """Return the manifest with its values.

    Raises:
        StackError: A value is missing, or nothing that Google Cloud would take.
    """
    for name, form in FORMS.items():
        if not values[name]:
            raise StackError(f"{name} is missing: set it with {name}={EXAMPLES[name]}")
        if not re.fullmatch(form, values[name]):
            raise StackError(f"{name} is invalid: it should look like {name}={EXAMPLES[name]}")
    return Template(manifest.read_text(encoding="utf-8")).substitute(values)


if __name__ == "__main__":
    main()
