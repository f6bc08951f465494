"""Who may ask: `API_KEYS`, `REQUIRE_AUTH`, and what stays open."""

from __future__ import annotations

import pytest

from tests.e2e.contract.claims import ANYTHING, Ask, Claim, error, text
from tests.e2e.contract.gateways import KEYS, Gateways
from tests.e2e.contract.pictures import as_kind
from tests.e2e.contract.shipped import PREDICTION

POSTS = ("/predict", "/predict/batch", "/predict/explain")
OPEN = ("/", "/health", "/healthz", "/readyz", "/startup", "/metrics", "/drift", "/privacy", "/openapi.json", "/docs")
JPEG = [("file", as_kind("JPEG"))]
REFUSAL = error("Unauthorized", text("the header", lambda found: "in the header X-API-Key" in found))
CHALLENGE = {"www-authenticate": 'ApiKey realm="predictions"', "ratelimit-policy": None}
WRONG = {
    "no key": {},
    "an empty key": {"X-API-Key": ""},
    "another key": {"X-API-Key": "row-key-0"},
    "half a key": {"X-API-Key": KEYS[0][:-1]},
    "the whole list": {"X-API-Key": ",".join(KEYS)},
    "a key in another header": {"Authorization": f"Bearer {KEYS[0]}"},
}

CLAIMS = [
    *(
        Claim(f"API_KEYS: {path} with {what} is 401", Ask("POST", path, "keyed", key), 401, REFUSAL, CHALLENGE)
        for path in POSTS
        for what, key in WRONG.items()
    ),
    *(
        Claim(
            f"API_KEYS: key {number} of the list opens",
            Ask("POST", "/predict", "keyed", {"X-API-Key": key}, JPEG),
            200,
            PREDICTION,
            {"ratelimit-policy": '"predict";q=30;w=60'},
        )
        for number, key in enumerate(KEYS[3:], 4)
    ),
    *(
        Claim(f"REQUIRE_AUTH without keys: {path} refuses {what}", Ask("POST", path, "locked", key), 401, REFUSAL)
        for path in POSTS
        for what, key in WRONG.items()
    ),
    *(
        Claim(f"{gateway}: {path} stays open", Ask("GET", path, gateway), 200, ANYTHING)
        for gateway in ("keyed", "locked")
        for path in OPEN
    ),
    *(
        Claim(f"without either, {path} is open to {what}", Ask("POST", path, "open", key), 400)
        for path in POSTS
        for what, key in WRONG.items()
    ),
]


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_authentication(claim: Claim, gateways: Gateways, mount: str) -> None:
    claim.check(gateways, mount)


@pytest.mark.parametrize(("gateway", "security"), [("keyed", [{"ApiKey": []}]), ("plain", [{}, {"ApiKey": []}])])
def test_the_description_says_whether_a_key_is_needed(
    gateways: Gateways, gateway: str, security: list[dict[str, object]]
) -> None:
    document = gateways.clients[gateway].get("/openapi.json").json()
    assert document["paths"]["/predict"]["post"]["security"] == security
    assert document["components"]["securitySchemes"] == {
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    }
