"""docs/client.md is in step with the client, and the two clients with each other."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from gateway.client import AsyncClient, Client, GatewayError, errors

PAGE = (Path(__file__).parents[3] / "docs" / "client.md").read_text(encoding="utf-8")
FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)]


def methods(kind: type) -> dict[str, list[str]]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: list(inspect.signature(each).parameters) for name, each in found if not name.startswith("_")}


def test_both_clients_have_the_same_methods() -> None:
    closing = {"close": methods(AsyncClient)["aclose"]}
    assert methods(Client) == {name: each for name, each in methods(AsyncClient).items() if name != "aclose"} | closing


def test_every_method_is_in_the_table() -> None:
    told = re.findall(r"`(\w+)\(", PAGE.partition("## All methods")[2])
    assert set(methods(Client)) - {"close"} - set(told) == set()


def test_every_error_is_in_the_table_and_whether_it_may_go_better() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (yes)? ?\|$", PAGE.partition("## Errors")[2], re.MULTILINE)
    assert dict(rows) == {kind.__name__: "yes" if kind.again else "" for kind in FAMILY if kind is not GatewayError}
