"""What may come with the product, and why: `requirements/policy.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from stack.supply_chain.locks import LOCKS

FILE = LOCKS / "policy.toml"


@dataclass(frozen=True)
class Policy:
    """Licences that need no reason, packages whose licence has one, and vulnerabilities that have one."""

    licences: frozenset[str]
    packages: Mapping[str, str]
    vulnerabilities: Mapping[str, str]

    @classmethod
    def read(cls, file: Path = FILE) -> Policy:
        """Read the policy from its file."""
        read = tomllib.loads(file.read_text(encoding="utf-8"))
        licences = frozenset(name.casefold() for name in read["licences"]["accepted"])
        return cls(licences, read["packages"], read["vulnerabilities"])

    def accepts(self, licences: list[str]) -> bool:
        """Return whether a package may come under these licences, all of them, without a reason."""
        return bool(licences) and all(name.casefold() in self.licences for name in licences)

    def reason(self, package: str) -> str | None:
        """Return why a package may come though its licence needs a reason."""
        return next((why for pattern, why in self.packages.items() if fnmatch(package, pattern)), None)
