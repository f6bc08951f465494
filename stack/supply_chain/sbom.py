"""Complete SBOMs that cyclonedx-py wrote from locks: `python -m stack.supply_chain.sbom var/sbom/gateway.cdx.json ...`.

It knows names, versions and hashes. What is added here: the component's own name, that it depends on all of them, the
licences that installed packages declare, and, with TorchServe, the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from stack.archives import archives
from stack.layout import ROOT
from stack.supply_chain.licences import declared
from stack.torchserve import ARCHIVE, MODEL

SERVES_THE_MODEL = "torchserve"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m stack.supply_chain.sbom", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    for file in parser.parse_args().files:
        bom = complete(json.loads(file.read_text(encoding="utf-8")), file.name.partition(".")[0])
        file.write_text(json.dumps(bom, indent=2) + "\n", encoding="utf-8")
        print(f"{file}: {len(bom['components'])} components")


def complete(bom: dict[str, Any], component: str) -> dict[str, Any]:
    """Return a component's SBOM with what cyclonedx-py cannot read in its lock."""
    root = bom["metadata"]["component"]
    root["name"] = f"{root['name']}-{component}"
    parts = [_with_licence(part) for part in bom["components"]]
    if component == SERVES_THE_MODEL:
        parts.append(model(ROOT / "model_store"))
    refs = [part["bom-ref"] for part in parts]
    depends = [{"ref": root["bom-ref"], "dependsOn": refs}, *({"ref": ref} for ref in refs)]
    return bom | {"components": parts, "dependencies": depends}


def model(store: Path) -> dict[str, Any]:
    """Describe the archive that serves out of the box."""
    [archive] = [each for each in archives(store) if each.path.name == ARCHIVE]
    return {
        "bom-ref": "model",
        "type": "machine-learning-model",
        "name": MODEL,
        "version": archive.version,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(archive.path.read_bytes()).hexdigest()}],
        "externalReferences": [{"type": "model-card", "url": "model_store/MODEL_CARD.md"}],
    }


def _with_licence(part: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in part.items() if name != "description"}  # the lock's lines once more
    named = [{"license": {"name": licence}} for licence in declared(part["name"]) or ()]
    return kept | ({"licenses": named} if named else {})


if __name__ == "__main__":
    main()
