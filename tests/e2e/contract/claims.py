"""One line of the documentation as a row: what it says, the request that shows it, and the exact answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.contract.gateways import Gateways

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


@dataclass(frozen=True)
class Claim:
    """A request to one of the gateways, and the answer that makes the documentation true."""

    says: str
    method: str
    path: str
    status: int
    body: object = ANYTHING
    headers: Mapping[str, object] = field(default_factory=dict)
    gateway: str = "open"
    sent: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[tuple[str, Any]] | None = None
    times: int = 1

    def __str__(self) -> str:
        return self.says

    def send(self, gateways: Gateways, mount: str = "", **headers: str) -> httpx.Response:
        """Ask so many times, and give back the last answer."""
        sent = {"X-Request-ID": REQUEST_ID, **self.sent, **headers}
        for _ in range(self.times):
            answer = gateways.clients[self.gateway].request(
                self.method, mount + self.path, headers=sent, files=self.files
            )
        return answer

    def check(self, gateways: Gateways) -> None:
        """Ask and compare: status, headers, and the body with its fields in their order."""
        answer = self.send(gateways)
        expected = {"x-request-id": REQUEST_ID, **self.headers}
        assert answer.status_code == self.status, answer.text
        assert {name: answer.headers.get(name) for name in expected} == expected
        is_json = answer.content and answer.headers.get("content-type") in {JSON, PROBLEM}
        assert in_order(answer.json() if is_json else answer.text) == in_order(self.body)


def in_order(value: object) -> object:
    """JSON with each object as a list of pairs, so that the order of fields counts."""
    if isinstance(value, dict):
        return [(name, in_order(each)) for name, each in value.items()]
    return [in_order(each) for each in value] if isinstance(value, list) else value


def error(title: str, detail: object) -> dict[str, object]:
    """The body of an error."""
    return {"error": title, "detail": detail}


def number(decimals: int, low: float = 0.0, high: float = 1e9) -> Like:
    """A float within bounds and with at most so many decimals."""

    def fits(found: Any) -> bool:  # noqa: ANN401 - whatever was answered
        return isinstance(found, float) and low <= found <= high and round(found, decimals) == found

    return Like(f"{low} to {high}, {decimals} decimals", fits)


def text(words: str, fits: Callable[[str], object]) -> Like:
    """A string that passes a test."""
    return Like(words, lambda found: isinstance(found, str) and bool(fits(found)))
