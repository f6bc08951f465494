"""Terraform's files as python-hcl2 reads them, and what Google's provider takes, without Terraform or the provider."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
from hcl2.utils import SerializationOptions

from stack.layout import ROOT

FOLDER = ROOT / "deploy" / "terraform"
MODULES = (FOLDER, *sorted((FOLDER / "modules").iterdir()))
SCHEMA_FILE = Path(__file__).with_name("terraform_google.schema.json")
SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
KINDS = {"resource": "resource_schemas", "data": "data_source_schemas"}
META = frozenset({"count", "for_each", "depends_on", "provider", "lifecycle"})
OPTIONS = SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)
REFERENCE = re.compile(r"\b(var|local|module|data|google_\w+)\.(\w+)(?:\[[^]]*\])?(?:\.(\w+))?")


@dataclass(frozen=True)
class Block:
    """A resource or a data source."""

    kind: str
    type: str
    name: str
    said: Mapping[str, Any]

    @property
    def schema(self) -> Mapping[str, Any]:
        """What the provider takes."""
        found: Mapping[str, Any] = SCHEMA[KINDS[self.kind]][self.type]
        return found

    def problems(self) -> list[str]:
        """Why the provider would refuse it."""
        return problems({name: said for name, said in self.said.items() if name not in META}, self.schema)


@cache
def read(module: Path) -> dict[str, list[dict[str, Any]]]:
    """All blocks of a module's files, by their first word."""
    content: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(module.glob("*.tf")):
        for word, blocks in parse(file.read_text(encoding="utf-8")).items():
            content.setdefault(word, []).extend(blocks)
    return content


def parse(text: str) -> dict[str, list[dict[str, Any]]]:
    """The blocks of a text in Terraform's language."""
    return hcl2.loads(text, serialization_options=OPTIONS)


def named(module: Path, word: str) -> dict[str, Any]:
    """A module's variables, outputs or calls of modules, by name."""
    return {name: said for block in read(module).get(word, []) for name, said in block.items()}


def blocks(content: Mapping[str, list[dict[str, Any]]]) -> Iterator[Block]:
    """The resources and data sources of a module."""
    for kind in KINDS:
        for block in content.get(kind, []):
            for type_, inside in block.items():
                for name, said in inside.items():
                    yield Block(kind, type_, name, said)


def problems(said: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """What the schema does not know of a block's arguments and blocks, what is missing, and what is too often there."""
    taken = {name: one for name, one in schema["attributes"].items() if one.get("required") or one.get("optional")}
    nested = schema.get("block_types", {})
    found = [f"unknown: {name}" for name in said if name not in {*taken, *nested}]
    found += [f"missing: {name}" for name, one in taken.items() if one.get("required") and name not in said]
    for name, one in nested.items():
        given = said.get(name, [])
        if not one.get("min_items", 0) <= len(given) <= one.get("max_items", len(given)):
            found.append(f"{len(given)} times: {name}")
        found += [f"{name}: {problem}" for inside in given for problem in problems(inside, one["block"])]
    return found


def references(said: object) -> set[tuple[str, str, str]]:
    """What expressions refer to: `var`, `local`, `module`, `data` or a type of resource, a name, and what follows."""
    if isinstance(said, Mapping):
        return {found for each in said.values() for found in references(each)}
    if isinstance(said, list):
        return {found for each in said for found in references(each)}
    if not isinstance(said, str):
        return set()
    return {found for expression in re.findall(r"\$\{.*\}", said) for found in REFERENCE.findall(expression)}
