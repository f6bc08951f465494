"""Fill in the manifest of Cloud Run: `python3 -m deploy.cloud_run --project ... --region ... --tag ...` prints it."""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

from deploy.layout import ROOT, StackError, reporting

MANIFEST = ROOT / "deploy/cloud-run/service.yaml"
FORMS = {
    "PROJECT": (r"[a-z][a-z0-9-]{4,28}[a-z0-9]", "my-project"),
    "REGION": (r"[a-z]+-[a-z]+[0-9]+", "europe-west1"),
    "REPOSITORY": (r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", "product-photo-detector"),
    "TAG": (r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "3f2c1a9b7d4e"),
}
"""What Google Cloud takes of each value, and an example."""


@reporting("deploy")
def main() -> None:
    """Print the manifest, or one line that names a missing or invalid value."""
    parser = argparse.ArgumentParser(prog="python -m deploy.cloud_run", description=__doc__)
    for name, (_, example) in FORMS.items():
        parser.add_argument(f"--{name.lower()}", dest=name, default="", help=f"for example {example}")
    sys.stdout.write(render(MANIFEST, vars(parser.parse_args())))


def render(manifest: Path, values: Mapping[str, str]) -> str:
    """Return the manifest with its values.

    Raises:
        StackError: A value is missing, or nothing that Google Cloud would take.
    """
    for name, (form, example) in FORMS.items():
        if not values[name]:
            raise StackError(f"{name} is missing: set it with {name}={example}")
        if not re.fullmatch(form, values[name]):
            raise StackError(f"{name} is invalid: it should look like {name}={example}")
    return Template(manifest.read_text(encoding="utf-8")).substitute(values)


if __name__ == "__main__":
    main()
