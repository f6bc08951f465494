from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from gateway.drift.monitor import DriftMonitor
from gateway.drift.reference import Reference, plan, read_reference
from gateway.settings import Settings
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.drift_data import Columns, columns_of_population, population, reference_of, sample, samples_of
from tests.gateway.fakes import VERDICT, TorchServe, picture, upload

SHIPPED = Path(__file__).parents[3] / "model_store" / "reference.json"
BOUND = 0.01
FILES = {"file": upload(picture("JPEG"))}


def monitor_of(columns: Columns, reference: Reference, **changes: Any) -> DriftMonitor:  # noqa: ANN401
    """A window beside what was learned before."""
    since = datetime(2026, 11, 28, tzinfo=UTC)
    learned = {reference.model_version: reference.model_copy(update={"since": since})}
    monitor = DriftMonitor(None, Settings(**changes), learned)
    for found in samples_of(columns):
        monitor.record(found)
    return monitor


def population_monitor(size: int = 300, **changes: Any) -> DriftMonitor:  # noqa: ANN401 - any setting
    """A window of a population beside what was learned of another sample of it."""
    random = np.random.default_rng(1)
    return monitor_of(population(random, size), reference_of(population(random, 311)), **changes)


@pytest.mark.parametrize("size", [1000, 200], ids=["full", "smallest"])
def test_false_alarms_stay_within_the_bound(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the reference, of the shipped one's size, and the window are drawn anew each time; no floors help."""
    for floor in ("drift_min_psi", "drift_min_ks", "drift_min_change"):
        monkeypatch.setattr(Settings, floor, 1e-9)
    random = np.random.default_rng(2026)
    alarms, runs = 0, 100
    for _ in range(runs):
        checks = plan(reference_of(population(random, 311)))
        columns = columns_of_population(population(random, size))
        alarms += any(check.run(columns, BOUND / len(checks), 1).alert for check in checks)
    assert alarms <= BOUND * runs


@pytest.mark.parametrize(
    ("column", "change", "alert"),
    [
        ("probability", lambda values: (values * 0.5).round(4), "probability_mean"),
        ("probability", lambda values: (0.5 + (values - 0.5) * 0.4).round(4), "low_confidence_ratio"),
        ("probability", lambda values: np.minimum(values + 0.4, 1.0).round(4), "ai_generated_ratio"),
        ("width", lambda values: values * 0.5, "width_ks"),
        ("bytes_per_pixel", lambda values: values * 0.5, "bytes_per_pixel_psi"),
        ("brightness", lambda values: values - 40, "brightness_ks"),
        ("sharpness", lambda values: values * 0.4, "sharpness_psi"),
    ],
)
@pytest.mark.parametrize("size", [1000, 200], ids=["full", "smallest"])
def test_a_shift_is_detected(column: str, change: Any, alert: str, size: int) -> None:  # noqa: ANN401
    random = np.random.default_rng(3)
    reference = reference_of(population(random, 311))
    columns = population(random, size)
    report = monitor_of(columns | {column: change(columns[column])}, reference).report()
    assert report.drift_detected
    assert report.drift_score > 1
    assert alert in [check.name for check in report.checks if check.alert]
    assert any(text.startswith(f"{alert} is ") for text in report.alerts)


def test_every_statistic_has_its_checks() -> None:
    report = population_monitor().report()
    names = ["probability_mean", "probability_std", "probability_ks", "probability_psi"]
    names += ["ai_generated_ratio", "low_confidence_ratio", "width_ks", "height_ks", "megapixels_ks"]
    for name in ("bytes_per_pixel", "brightness", "sharpness"):
        names += [f"{name}_ks", f"{name}_psi"]
    assert [check.name for check in report.checks] == names
    window = population_monitor(999)
    window._learned.clear()  # noqa: SLF001 - so that it learns
    window.record(samples_of(population(np.random.default_rng(2), 1))[0])
    assert [check.name for check in window.report().checks] == [*names, "outside_ratio"]
    assert report.drift_score == max(
        round(check.score / check.threshold, 6)
        for check in report.checks
        if check.score is not None and check.threshold
    )
    assert (report.status, report.reason, report.alerts, report.drift_detected) == ("monitoring", None, [], False)


def catalogue(random: np.random.Generator, size: int) -> Columns:
    """A shop's: 800 px on white ground, few of them AI-generated."""
    sides = np.full(size, 800.0)
    return {
        "probability": random.beta(0.5, 6.0, size).round(4),
        "width": sides,
        "height": sides,
        "megapixels": sides * sides / 1e6,
        "bytes_per_pixel": random.lognormal(-2.4, 0.35, size),
        "brightness": random.normal(228, 9, size).clip(0, 255),
        "sharpness": random.lognormal(6.2, 0.6, size),
    }


@pytest.mark.parametrize("seed", range(3))
def test_a_catalogue_raises_no_alarm_until_a_tenth_of_it_comes_from_elsewhere(seed: int) -> None:
    """Beside the model's own reference every second check of it would alert from its 200th photo on."""
    random = np.random.default_rng(seed)
    shipped = read_reference(SHIPPED)
    assert shipped is not None
    version = shipped.model_version
    monitor = DriftMonitor(shipped, Settings())
    usual = samples_of(catalogue(random, 10_500), version)
    for number, found in enumerate(usual[:10_000], start=1):
        monitor.record(found)
        if number % 100 == 0:
            assert monitor.report().alerts == [], number
            assert monitor.report().reference_source == ("shipped" if number < 1000 else "own traffic")
    odd = samples_of(population(random, 500), version)
    elsewhere = random.random(500) < 0.1
    alarms = []
    for number, other in enumerate(elsewhere):
        monitor.record(odd[number] if other else usual[10_000 + number])
        if number % 50 == 49:
            alarms.append(monitor.report().drift_detected)
    assert any(alarms)


def test_beside_the_models_reference_scores_are_shown_and_nothing_alerts() -> None:
    random = np.random.default_rng(1)
    monitor = DriftMonitor(reference_of(population(random, 311)), Settings())
    for found in samples_of(catalogue(random, 999)):
        monitor.record(found)
    report = monitor.report()
    assert (report.status, report.reference_source, report.reference_since) == ("collecting", "shipped", None)
    assert report.reason is not None
    assert report.reason.startswith("1 more predictions become the reference.")
    beyond = [check for check in report.checks if (check.score or 0) > (check.threshold or 0)]
    assert beyond
    assert {check.name.split("_")[0] for check in report.checks} == {"probability", "ai", "low"}
    assert (report.alerts, report.drift_detected, report.drift_score) == ([], False, 0.0)


def test_each_version_learns_its_own_reference_and_finds_it_again() -> None:
    random = np.random.default_rng(1)
    monitor = DriftMonitor(reference_of(population(random, 311)), Settings(drift_window=300))
    seen = []
    for version, size in (("1.0.0", 300), ("2.0.0", 150), ("2.0.0", 150), ("1.0.0", 250)):
        for found in samples_of(population(random, size), version):
            monitor.record(found)
        report = monitor.report()
        seen.append((report.status, report.reference and report.reference.model_version))
        if report.status == "other_version":
            assert (report.checks, report.drift_detected) == ([], False)
            assert report.reason is not None
            assert report.reason.startswith("The reference is of model version 1.0.0; version 2.0.0 answers now. ")
    assert seen == [
        ("monitoring", "1.0.0"),
        ("other_version", "1.0.0"),
        ("monitoring", "2.0.0"),
        ("monitoring", "1.0.0"),
    ]


def test_inputs_that_few_pictures_were_measured_for_are_no_part_of_what_is_learned() -> None:
    random = np.random.default_rng(1)
    monitor = DriftMonitor(None, Settings())
    for number, found in enumerate(samples_of(population(random, 1000))):
        monitor.record(found if number < 150 else sample(found.probability))
    reference = monitor.report().reference
    assert reference is not None
    assert (reference.samples, reference.inputs) == (1000, {})


def test_nothing_is_compared_before_the_minimum_sample() -> None:
    monitor = population_monitor(199)
    report = monitor.report()
    assert (report.status, report.reason) == ("collecting", "1 more predictions are needed.")
    assert (report.checks, report.alerts, report.drift_detected, report.drift_score) == ([], [], False, 0.0)
    monitor.record(sample(0.5))
    assert monitor.report().status == "monitoring"


def test_pictures_that_were_not_measured_do_not_count_for_inputs() -> None:
    monitor = population_monitor(150)
    for _ in range(100):
        monitor.record(sample(0.5))
    found = {check.name: (check.samples, check.score is None) for check in monitor.report().checks}
    assert found["probability_ks"] == (250, False)
    assert found["brightness_ks"] == (150, True)


def test_the_window_slides() -> None:
    monitor = DriftMonitor(None, Settings(drift_window=3))
    for probability in (0.1, 0.2, 0.3, 0.9):
        monitor.record(sample(probability))
    report = monitor.report()
    assert report.current is not None
    assert (report.window_size, report.window_capacity) == (3, 3)
    assert report.current.mean == 0.466667
    assert report.current.std == 0.309121
    assert report.current.low_confidence_ratio == 0.0
    assert report.current.confidence_ratios == {"low": 0.0, "medium": 0.666667, "high": 0.333333}
    assert report.current.class_ratios == {"real": 0.666667, "ai_generated": 0.333333}


def test_a_few_answers_of_another_version_change_nothing() -> None:
    monitor = population_monitor()
    for _ in range(10):
        monitor.record(sample(0.99, version="2.0.0"))
    report = monitor.report()
    assert report.current is not None
    assert (report.status, report.window_size, report.current.samples) == ("monitoring", 310, 300)
    monitor.record(sample(0.99, version="2.0.0"))  # now it gave more than half of the newest
    assert monitor.report().status == "no_reference"


@pytest.mark.parametrize("content", [None, "", "{}", '{"model_version": "1.0.0"}'])
def test_without_a_reference_the_body_says_so(
    tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch, open_client: OpenClient, log_lines: LogLines
) -> None:
    path = tmp_path / "reference.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(Settings, "drift_reference_file", path)
    client = open_client()
    assert [line["event"] for line in log_lines()] == ["no_drift_reference"]
    body = client.get("/drift").json()
    assert (body["status"], body["reference"]) == ("no_reference", None)


@pytest.fixture
def drifting(open_client: OpenClient) -> TestClient:
    """A gateway whose window is soon full."""
    return open_client(drift_window=12, rate_limit_enabled=False)


@pytest.mark.parametrize("path", ["/drift", "/v1/drift"])
def test_single_batch_and_explanation_alike(drifting: TestClient, path: str) -> None:
    drifting.post("/predict", files=FILES)
    drifting.post("/predict/explain", files=FILES)
    drifting.post("/predict/batch", files=[("files", FILES["file"])] * 2 + [("files", upload(picture("GIF")))])
    drifting.get("/readyz")
    body = drifting.get(path).json()
    assert (body["status"], body["window_size"], body["window_capacity"]) == ("other_version", 4, 12)
    assert body["current"]["inputs"]["width"] == {"samples": 4, "mean": 64.0, "std": 0.0}
    assert body["current"]["inputs"]["sharpness"]["samples"] == 4


def test_drift_shows_in_health(drifting: TestClient) -> None:
    for number in range(24):
        size = (64, 48) if number < 12 else (400, 300)
        drifting.post("/predict", files={"file": upload(picture("JPEG", size))})
        body = drifting.get("/drift").json()
        assert body["drift_detected"] is (number == 23)
    assert body["reference_source"] == "own traffic"
    assert drifting.get("/health").json()["drift_detected"] is True


def test_an_archive_that_measures_nothing_is_served_and_named(client: TestClient, torchserve: TorchServe) -> None:
    torchserve.always(200, VERDICT)
    assert client.post("/predict", files=FILES).status_code == 200
    body = client.get("/drift").json()
    assert (body["window_size"], body["current"]["inputs"]) == (1, {})
    assert "pack it again with `python -m training.repack`" in body["reason"]


def test_statistics_that_are_not_known_yet_are_left_out(client: TestClient, torchserve: TorchServe) -> None:
    torchserve.always(200, VERDICT | {"inputs": {"width": 64, "faces": 3}})
    assert client.post("/predict", files=FILES).status_code == 200
    assert client.get("/drift").json()["current"]["inputs"] == {"width": {"samples": 1, "mean": 64.0, "std": 0.0}}
