"""One line of the documentation as a row: what it says, the request that shows it, and the exact answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.contract.gateways import Gateways

MOUNTS = ("", "/v1")
REQUEST_ID = "a row of the contract"
JSON = "application/json"
PROBLEM = "application/problem+json"


@dataclass(frozen=True, eq=False)
class Like:
    """Equal to every value that passes the test; where a claim fails, pytest shows its words."""

    words: str
    test: Callable[[Any], bool]

    def __eq__(self, other: object) -> bool:
        return self.test(other)

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return f"<{self.words}>"


ANYTHING = Like("anything", lambda _: True)
NOTHING = ""


@dataclass(frozen=True)
class Ask:
    """A request to one of the gateways, sent so many times; the last answer counts."""

    method: str
    path: str
    gateway: str = "open"
    headers: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[tuple[str, Any]] | None = None
    content: bytes | None = None
    times: int = 1

    def send(self, gateways: Gateways, mount: str = "", **headers: str) -> httpx.Response:
        """Ask below a mount, and give back the last answer."""
        sent = {"X-Request-ID": REQUEST_ID, **self.headers, **headers}
        for _ in range(self.times):
            answer = gateways.clients[self.gateway].request(
                self.method, mount + self.path, headers=sent, files=self.files, content=self.content
            )
        return answer


@dataclass(frozen=True)
class Claim:
    """What the documentation says, and the answer that makes it true."""

    says: str
    ask: Ask
    status: int
    body: object = ANYTHING
    headers: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.says

    def check(self, gateways: Gateways, mount: str = "") -> None:
        """Ask below a mount and compare: status, headers, and the body with its fields in their order."""
        answer = self.ask.send(gateways, mount)
        expected = {"x-request-id": REQUEST_ID, **self.headers}
        assert answer.status_code == self.status, answer.text
        assert {name: answer.headers.get(name) for name in expected} == expected
        assert in_order(body_of(answer)) == in_order(self.body)
        if isinstance(self.body, dict):
            assert answer.headers["content-type"] == JSON


def body_of(answer: httpx.Response) -> Any:  # noqa: ANN401 - JSON is anything
    """The answer's JSON, or its text."""
    is_json = answer.content and answer.headers.get("content-type") in {JSON, PROBLEM}
    return answer.json() if is_json else answer.text


def in_order(value: object) -> object:
    """JSON with each object as a list of pairs, so that the order of fields counts."""
    if isinstance(value, dict):
        return [(name, in_order(each)) for name, each in value.items()]
    return [in_order(each) for each in value] if isinstance(value, list) else value


def error(title: str, detail: object) -> dict[str, object]:
    """The body of an error."""
    return {"error": title, "detail": detail}


def one_of(*values: str) -> Like:
    """Any of some values."""
    return Like(" or ".join(values), lambda found: found in values)


def number(decimals: int, low: float = 0.0, high: float = 1e9) -> Like:
    """A float within bounds and with at most so many decimals."""

    def fits(found: Any) -> bool:  # noqa: ANN401 - whatever was answered
        return isinstance(found, float) and low <= found <= high and round(found, decimals) == found

    return Like(f"{low} to {high}, {decimals} decimals", fits)


def whole(low: int = 0) -> Like:
    """A whole number from a bound on."""
    return Like(f"a whole number from {low}", lambda found: type(found) is int and found >= low)


def text(words: str, fits: Callable[[str], object]) -> Like:
    """A string that passes a test."""
    return Like(words, lambda found: isinstance(found, str) and bool(fits(found)))


NEW_ID = text("a new id", lambda found: len(found) == 32 and int(found, 16) >= 0)
