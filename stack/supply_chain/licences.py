"""Check the licences of all that is installed of a lock: `python -m stack.supply_chain.licences` lists them, too."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import metadata

from stack.layout import ROOT
from stack.supply_chain.locks import pinned
from stack.supply_chain.policy import Policy

COMPONENT = "demo"
"""Whose lock brings all that serves, scores and trains."""
PAGE = ROOT / "var/licences.md"
LONGEST = 60
"""Characters of a licence's name; some packages put the whole text there."""


def main() -> None:
    """Run from the command line."""
    found = {name: declared(name) for name, _ in pinned(COMPONENT)}
    policy = Policy.read()
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(table(found, policy)) + "\n", encoding="utf-8")
    if problems := [*refused(found, policy)]:
        sys.exit("licences: " + "\nlicences: ".join(problems))
    absent = [name for name, licences in found.items() if licences is None]
    print(
        f"{len(found) - len(absent)} packages checked, {len(absent)} not installed here ({', '.join(absent)}): {PAGE}"
    )


def declared(package: str) -> list[str] | None:
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


def refused(found: Mapping[str, list[str] | None], policy: Policy) -> Iterator[str]:
    """List what the policy does not accept, and reasons for packages that are gone."""
    for name, licences in found.items():
        if licences is not None and not policy.accepts(licences) and policy.reason(name) is None:
            yield f"{name} comes under {_words(licences)}: give a reason in requirements/policy.toml, or remove it"
    for pattern in policy.packages:
        if not any(Policy(frozenset(), {pattern: ""}, {}).reason(name) is not None for name in found):
            yield f"no package matches {pattern}: remove its reason from requirements/policy.toml"


def table(found: Mapping[str, list[str] | None], policy: Policy) -> Iterator[str]:
    """Yield the lines of a page of all packages, in Markdown."""
    yield from ("# Licences", "", "| package | licence | why it is accepted |", "|---|---|---|")
    for name, licences in found.items():
        why = "" if licences is None or policy.accepts(licences) else policy.reason(name) or "**not accepted**"
        yield f"| {name} | {'not installed here' if licences is None else _words(licences)} | {why} |"


def _words(licences: list[str]) -> str:
    return "; ".join(licences) or "no licence that it names"


if __name__ == "__main__":
    main()
