"""docs/client.md is in step with the client, and the two clients with each other."""

from __future__ import annotations

import inspect

from gateway.client import AsyncClient, Client


def methods(kind: type) -> dict[str, list[str]]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: list(inspect.signature(each).parameters) for name, each in found if not name.startswith("_")}


def test_both_clients_have_the_same_methods() -> None:
    closing = {"close": methods(AsyncClient)["aclose"]}
    assert methods(Client) == {name: each for name, each in methods(AsyncClient).items() if name != "aclose"} | closing
