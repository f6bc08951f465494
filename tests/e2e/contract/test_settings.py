"""Every limit is a setting: a gateway with small ones, or with large ones, answers by them."""

from __future__ import annotations

import pytest

from tests.e2e.contract.claims import Ask, Claim, error
from tests.e2e.contract.gateways import SETTINGS, Gateways
from tests.e2e.contract.pictures import MIB, as_kind, padded
from tests.e2e.contract.shipped import PREDICTION

SMALL = SETTINGS["small"]
SIDES = "Each side must have 20 to 200 pixels."
DIMENSIONS = "Invalid image dimensions"
TINY = as_kind("PNG", (30, 30))


def single(data: bytes) -> Ask:
    return Ask("POST", "/predict", "small", files=[("file", data)])


def batch(*contents: bytes) -> Ask:
    return Ask("POST", "/predict/batch", "small", files=[("files", data) for data in contents])


CLAIMS = {
    "GATEWAY_MAX_FILE_BYTES": Claim(
        "the largest file", single(padded(2001)), 413, error("File too large", "Maximum file size: 0.00190735 MB")
    ),
    "GATEWAY_MAX_BATCH_FILES": Claim(
        "the most files",
        batch(*[TINY] * 4),
        400,
        error("Too many files", "Send 1 to 3 images in the multipart field `files`."),
    ),
    "GATEWAY_MAX_BATCH_BYTES": Claim(
        "the largest batch",
        batch(padded(1501), padded(1500)),
        413,
        error("Request too large", "Maximum batch size: 0.00286102 MB"),
    ),
    "GATEWAY_MIN_SIDE_PIXELS": Claim(
        "the shortest side", single(as_kind("PNG", (19, 30))), 400, error(DIMENSIONS, f"{SIDES} Got: 19x30")
    ),
    "GATEWAY_MAX_SIDE_PIXELS": Claim(
        "the longest side", single(as_kind("PNG", (201, 30))), 400, error(DIMENSIONS, f"{SIDES} Got: 201x30")
    ),
    "GATEWAY_MAX_PIXELS": Claim(
        "the most pixels",
        single(as_kind("PNG", (150, 150))),
        400,
        error(DIMENSIONS, "At most 0.02 megapixels. Got: 150x150"),
    ),
    "GATEWAY_CORS_ORIGINS": Claim(
        "origins whose pages may ask",
        Ask("GET", "/healthz", "small", {"Origin": "https://shop.example"}),
        200,
        {"alive": True},
        {"access-control-allow-origin": "https://shop.example"},
    ),
}


@pytest.mark.parametrize(("name", "claim"), list(CLAIMS.items()), ids=list(CLAIMS))
def test_the_setting_has_its_effect(name: str, claim: Claim, gateways: Gateways, mount: str) -> None:
    assert name in SMALL
    claim.check(gateways, mount)


def test_within_the_small_limits_all_is_well(gateways: Gateways, mount: str) -> None:
    Claim("a tiny picture", single(TINY), 200, PREDICTION).check(gateways, mount)


RAISED = {
    "GATEWAY_MAX_FILE_BYTES": padded(2 * 5 * MIB),
    "GATEWAY_MIN_SIDE_PIXELS": as_kind("PNG", (5, 30)),
    "GATEWAY_MAX_SIDE_PIXELS": as_kind("PNG", (20_000, 30)),
    "GATEWAY_MAX_PIXELS": as_kind("PNG", (10_000, 10_000), "L"),
}


@pytest.mark.parametrize(("name", "image"), list(RAISED.items()), ids=list(RAISED))
def test_a_raised_limit_holds_through_to_the_model(name: str, image: bytes, gateways: Gateways) -> None:
    assert name in SETTINGS["raised"]
    Claim("twice the default", Ask("POST", "/predict", "raised", files=[("file", image)]), 200, PREDICTION).check(
        gateways
    )


def test_a_batch_of_twice_the_files_and_bytes_is_predicted(gateways: Gateways) -> None:
    files = [("files", ("a.jpg", padded(5 * MIB)))] * 20
    answer = gateways.clients["raised"].post("/predict/batch", files=files)
    assert (answer.status_code, answer.json()["successful"]) == (200, 20)


def test_by_default_no_other_origin_may_ask(gateways: Gateways) -> None:
    answer = gateways.clients["open"].get("/healthz", headers={"Origin": "https://shop.example"})
    assert "access-control-allow-origin" not in answer.headers
