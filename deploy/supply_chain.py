"""Vulnerabilities, licences, SBOMs of what the locks install: `python -m deploy.supply_chain audit|licences|sbom`."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from deploy.layout import ROOT, StackError, reporting
from deploy.local.versions import archives
from deploy.torchserve.process import ARCHIVE, MODEL

LOCKS = ROOT / "requirements"
_PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
FILE = LOCKS / "policy.toml"
COMPONENT = "demo"
"""Whose lock brings all that serves, scores and trains."""
PAGE = ROOT / "var/licences.md"
LONGEST = 60
"""Characters of a licence's name; some packages put the whole text there."""
OPTIONS = ("--strict", "--progress-spinner=off", "--disable-pip", "--vulnerability-service=osv")
SERVES_THE_MODEL = "torchserve"
Licences = list[str] | None
"""That a package declares; None where it is not installed."""


def pinned(component: str) -> list[tuple[str, str]]:
    """Return the names and versions of a component's packages; of some there is one version for each Python."""
    return _PIN.findall((LOCKS / f"{component}.txt").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Policy:
    """Licences that need no reason (in lower case), packages whose licence has one, and vulnerabilities that have."""

    licences: frozenset[str]
    packages: Mapping[str, str]
    vulnerabilities: Mapping[str, str]

    @classmethod
    def read(cls) -> Self:
        """Read the policy from its file."""
        read = tomllib.loads(FILE.read_text(encoding="utf-8"))
        accepted = frozenset(map(str.casefold, read["licences"]["accepted"]))
        return cls(accepted, read["packages"], read["vulnerabilities"])

    def reason(self, package: str, licences: Licences) -> str | None:
        """Return why a package may come: "" if its licences, all of them, are accepted; None if it may not."""
        if licences is None or (licences and self.licences.issuperset(map(str.casefold, licences))):
            return ""
        return next((why for pattern, why in self.packages.items() if fnmatch(package, pattern)), None)


def check_licences() -> None:
    """Run from the command line."""
    found, policy = {name: declared(name) for name, _ in pinned(COMPONENT)}, Policy.read()
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(table(found, policy)) + "\n", encoding="utf-8")
    if problems := [*refused(found, policy)]:
        sys.exit("licences: " + "\nlicences: ".join(problems))
    absent = [name for name, licences in found.items() if licences is None]
    missing = f"{len(absent)} not installed here ({', '.join(absent)})"
    print(f"{len(found) - len(absent)} packages checked, {missing}: {PAGE}")


def declared(package: str) -> Licences:
    """Return the licences that an installed package declares, [] for none; None where it is not installed."""
    try:
        about = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return None
    if expression := about.get_all("License-Expression"):
        return list(expression)
    classifiers = [each.split(" :: ") for each in about.get_all("Classifier", [])]
    if named := [each[-1] for each in classifiers if each[0] == "License" and each[-1] != "OSI Approved"]:
        return named
    return [field for field in about.get_all("License", []) if 0 < len(field.strip()) <= LONGEST]


def refused(found: Mapping[str, Licences], policy: Policy) -> Iterator[str]:
    """List what the policy does not accept, and reasons for packages that are gone."""
    for name, licences in found.items():
        if policy.reason(name, licences) is None:
            yield f"{name} comes under {_words(licences)}: give a reason in requirements/policy.toml, or remove it"
    for pattern in policy.packages:
        if not any(fnmatch(name, pattern) for name in found):
            yield f"no package matches {pattern}: remove its reason from requirements/policy.toml"


def table(found: Mapping[str, Licences], policy: Policy) -> Iterator[str]:
    """Yield the lines of a page of all packages, in Markdown."""
    yield from ("# Licences", "", "| package | licence | why it is accepted |", "|---|---|---|")
    for name, licences in found.items():
        why = policy.reason(name, licences)
        yield f"| {name} | {_words(licences)} | {'**not accepted**' if why is None else why} |"


def _words(licences: Licences) -> str:
    return "not installed here" if licences is None else "; ".join(licences) or "no licence that it names"


@reporting("audit")
def check_vulnerabilities() -> None:
    """Run from the command line; all words are pip-audit's own, as it is to be called."""
    accepted = [f"--ignore-vuln={name}" for name in Policy.read().vulnerabilities]
    found = [audit([*sys.argv[1:], *OPTIONS, *accepted], lock) for lock in sorted(LOCKS.glob("*.txt"))]
    if any(found):
        sys.exit("audit: raise these in pyproject.toml and run make lock, or accept them in requirements/policy.toml")


def audit(command: list[str], lock: Path) -> bool:
    """Print what is known of the packages of a lock; return whether anything is.

    Raises:
        StackError: pip-audit got no answer.
    """
    done = subprocess.run([*command, f"--requirement={lock}"], capture_output=True, text=True, check=False)  # noqa: S603 - make's words
    last = done.stderr.strip().rpartition("\n")[2]
    if done.returncode and not done.stdout:
        raise StackError(f"pip-audit failed for {lock.name}: {last}")
    print(f"{lock.name}: {last}", done.stdout, sep="\n", end="", flush=True)
    return bool(done.returncode)


def complete_sboms() -> None:
    """Run from the command line; all words are files of cyclonedx-py's."""
    for file in map(Path, sys.argv[1:]):
        bom = complete(json.loads(file.read_text(encoding="utf-8")), file.name.partition(".")[0])
        file.write_text(json.dumps(bom, indent=2) + "\n", encoding="utf-8")
        print(f"{file}: {len(bom['components'])} components")


def complete(bom: dict[str, Any], component: str) -> dict[str, Any]:
    """Return a component's SBOM with what cyclonedx-py cannot read in its lock: licences, model, what needs what."""
    root, parts = bom["metadata"]["component"], bom["components"]
    root["name"] = f"{root['name']}-{component}"
    for part in parts:
        part.pop("description", None)  # the lock's lines once more
        if licences := declared(part["name"]):
            part["licenses"] = [{"license": {"name": licence}} for licence in licences]
    if component == SERVES_THE_MODEL:
        parts.append(model())
    refs = [part["bom-ref"] for part in parts]
    return bom | {"dependencies": [{"ref": root["bom-ref"], "dependsOn": refs}, *({"ref": ref} for ref in refs)]}


def model() -> dict[str, Any]:
    """Describe the archive that serves out of the box."""
    [archive] = [each for each in archives(ROOT / "model_store") if each.path.name == ARCHIVE]
    return {
        "bom-ref": "model",
        "type": "machine-learning-model",
        "name": MODEL,
        "version": archive.version,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(archive.path.read_bytes()).hexdigest()}],
        "externalReferences": [{"type": "model-card", "url": "model_store/MODEL_CARD.md"}],
    }


CHECKS = {"audit": check_vulnerabilities, "licences": check_licences, "sbom": complete_sboms}

if __name__ == "__main__":
    CHECKS[sys.argv.pop(1)]()
