"""Drift: the window, the reference that ships, the scores and their thresholds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stack.layout import ROOT
from tests.e2e.contract.claims import in_order, number, text, whole
from tests.e2e.contract.gateways import SETTINGS, Gateways
from tests.e2e.contract.pictures import as_kind
from tests.e2e.contract.shipped import VERSION

REFERENCE = json.loads((ROOT / "model_store" / "reference.json").read_text())
INPUTS = ("width", "height", "megapixels", "bytes_per_pixel", "brightness", "sharpness")
RATIO, SCORE = number(6, high=1.0), number(6)
SHARE = text("a check's name", str.isidentifier)
WHITE = {"file": as_kind("JPEG", (120, 80))}
USUAL = {"file": as_kind("JPEG", (60, 90))}
FIELDS = [
    "status",
    "reason",
    "window_size",
    "window_capacity",
    "min_samples",
    "false_alarm_rate",
    "reference_source",
    "reference_since",
    "reference",
    "current",
    "checks",
    "alerts",
    "drift_detected",
    "drift_score",
]


def drift(gateways: Gateways, gateway: str, mount: str = "") -> dict[str, Any]:
    return dict(gateways.clients[gateway].get(f"{mount}/drift").json())


def test_a_fresh_gateway_has_the_documented_window_and_raises_no_alarm(gateways: Gateways, mount: str) -> None:
    body = drift(gateways, "down", mount)
    assert list(body) == FIELDS
    assert (body["window_size"], body["window_capacity"], body["current"]) == (0, 1000, None)
    assert (body["status"], body["min_samples"], body["false_alarm_rate"]) == ("collecting", 200, 0.01)
    assert (body["checks"], body["alerts"], body["drift_detected"], body["drift_score"]) == ([], [], False, 0.0)


def test_the_reference_is_the_live_models_own_out_of_the_box(gateways: Gateways, mount: str) -> None:
    scores = REFERENCE["scores"]
    share = scores["ai_generated_ratio"]["value"]
    assert in_order(drift(gateways, "open", mount)["reference"]) == in_order(
        {
            "model_version": VERSION,
            "samples": REFERENCE["n"],
            "mean": scores["mean"],
            "std": scores["std"],
            "low_confidence_ratio": scores["low_confidence_ratio"]["value"],
            "confidence_ratios": None,
            "class_ratios": {"real": pytest.approx(1 - share), "ai_generated": share},
            "inputs": {
                name: {"samples": REFERENCE["n"], "mean": each["mean"], "std": each["std"]}
                for name, each in REFERENCE["inputs"].items()
            },
        }
    )
    assert set(REFERENCE["inputs"]) == set(INPUTS)


def test_single_ones_batch_items_and_explanations_all_count(gateways: Gateways) -> None:
    client = gateways.clients["open"]
    before = drift(gateways, "open")["window_size"]
    client.post("/predict", files=WHITE)
    client.post("/v1/predict/explain", files=WHITE)
    client.post("/v1/predict", files={"file": b"no picture"})
    client.post("/predict/batch", files=[("files", WHITE["file"]), ("files", b"no picture"), ("files", WHITE["file"])])
    client.get("/health")
    assert drift(gateways, "open")["window_size"] == before + 4


@pytest.fixture(scope="module")
def shifted(gateways: Gateways) -> list[dict[str, Any]]:
    """What a gateway with a window of 12 says after each prediction: on a picture that it learns, then on another."""
    assert SETTINGS["small"]["GATEWAY_DRIFT_WINDOW"] == "12"
    client, bodies = gateways.clients["small"], []
    for place in range(24):
        client.post("/predict", files=USUAL if place < 12 else WHITE).raise_for_status()
        bodies.append(drift(gateways, "small"))
    return bodies


def test_the_window_slides(shifted: list[dict[str, Any]]) -> None:
    assert [(body["window_size"], body["current"]["samples"]) for body in shifted] == [
        (size, size) for size in (*range(1, 13), *[12] * 12)
    ]


def test_no_alert_before_the_minimum_sample(shifted: list[dict[str, Any]]) -> None:
    assert [body["status"] for body in shifted] == ["collecting"] * 11 + ["monitoring"] * 13
    assert [body["reference_source"] for body in shifted] == ["shipped"] * 11 + ["own traffic"] * 13
    assert shifted[10]["reason"].startswith("1 more predictions become the reference.")
    assert [(body["alerts"], body["drift_detected"]) for body in shifted[:12]] == [([], False)] * 12


def test_current_statistics_are_of_the_scores_the_classes_and_the_pictures(shifted: list[dict[str, Any]]) -> None:
    current = shifted[-1]["current"]
    assert in_order(current) == in_order(
        {
            "model_version": VERSION,
            "samples": 12,
            "mean": RATIO,
            "std": number(6, high=1e-4),  # one picture
            "low_confidence_ratio": RATIO,
            "confidence_ratios": dict.fromkeys(("low", "medium", "high"), RATIO),
            "class_ratios": dict.fromkeys(("real", "ai_generated"), RATIO),
            "inputs": {name: {"samples": 12, "mean": SCORE, "std": number(6, high=1e-6)} for name in INPUTS},
        }
    )
    assert sum(current["class_ratios"].values()) == sum(current["confidence_ratios"].values()) == 1
    assert (current["inputs"]["width"]["mean"], current["inputs"]["height"]["mean"]) == (120, 80)
    assert current["inputs"]["brightness"]["mean"] == 255


def test_each_statistic_has_a_score_and_its_threshold(shifted: list[dict[str, Any]]) -> None:
    row = {"name": SHARE, "score": SCORE, "threshold": SCORE, "samples": whole(12), "alert": False}
    checks = shifted[-1]["checks"]
    assert [in_order(check | {"alert": False}) for check in checks] == [in_order(row)] * len(checks)
    assert [check["alert"] for check in checks] == [check["score"] > check["threshold"] for check in checks]
    names = {check["name"] for check in checks}
    assert names >= {"probability_mean", "probability_std", "ai_generated_ratio", "low_confidence_ratio"}
    assert names >= {f"{name}_ks" for name in ("probability", *INPUTS)}


def test_pictures_unlike_the_references_are_drift(gateways: Gateways, shifted: list[dict[str, Any]]) -> None:
    body = shifted[-1]
    alerting = [check["name"] for check in body["checks"] if check["alert"]]
    assert [alert.partition(" ")[0] for alert in body["alerts"]] == alerting
    assert {name.rpartition("_")[0] for name in alerting} & set(INPUTS)
    assert (body["drift_detected"], body["drift_score"] > 1) == (True, True)
    assert gateways.clients["small"].get("/health").json()["drift_detected"] is True
    assert "\naidetect_drift_detected 1.0\n" in gateways.clients["small"].get("/metrics").text


def test_the_window_and_the_bound_on_false_alarms_are_settings(shifted: list[dict[str, Any]]) -> None:
    body = shifted[-1]
    assert (body["window_capacity"], body["min_samples"], body["false_alarm_rate"]) == (12, 5, 0.2)
    assert min(check["threshold"] for check in body["checks"] if check["name"].endswith("_ks")) >= 0.1
