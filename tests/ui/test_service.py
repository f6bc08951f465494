import re

from gateway.client import Drift, DriftCheck, DriftHistogram, Health
from ui.service import histogram_html, state_html

HEALTH = Health(
    status="healthy",
    model_loaded=True,
    model_version="1.2.0",
    uptime_seconds=3700.0,
    active_requests=2,
    drift_detected=False,
    predictions_total=1542,
)
DRIFT = Drift(
    status="monitoring",
    reason=None,
    window_size=1000,
    window_capacity=1000,
    min_samples=200,
    false_alarm_rate=0.01,
    reference=None,
    current=None,
    reference_source=None,
    reference_since=None,
    checks=[
        DriftCheck(name="probability_mean", score=0.02, threshold=0.05, samples=1000, alert=False),
        DriftCheck(name="brightness_ks", score=0.25, threshold=0.1, samples=1000, alert=True),
        DriftCheck(name="sharpness_ks", score=None, threshold=None, samples=3, alert=False),
    ],
    alerts=["brightness_ks is 0.25, over its threshold of 0.1"],
    drift_detected=True,
    drift_score=2.5,
)


def titles(html: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", html)


def test_health_and_drift_are_in_words_with_their_numbers() -> None:
    html = state_html(HEALTH, DRIFT, ready=True)
    assert titles(html) == ["The service is ready", "Drift: something has changed"]
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))
    assert facts == {
        "Health": "healthy",
        "Ready for photos": "yes",
        "Live model version": "1.2.0",
        "Running for": "1 hour 1 minute",
        "Predictions since start-up": "1,542",
        "Predictions in progress": "2",
        "Predictions in the drift window": "1,000 of 1,000",
        "Needed before drift is checked": "200",
        "Drift score (drift above 1)": "2.50",
    }


def test_each_check_has_a_row_with_its_state() -> None:
    rows = re.findall(r'<tr.*?><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>', _report(DRIFT))
    assert rows == [
        ("probability mean", "0.020", "0.050", "fine"),
        ("brightness ks", "0.250", "0.100", "over its threshold"),
        ("sharpness ks", "none", "none", "too few photos"),
    ]


def test_without_drift_the_status_says_what_is_compared() -> None:
    quiet = DRIFT.model_copy(update={"drift_detected": False, "checks": []})
    assert titles(_report(quiet))[1] == "No drift"
    assert titles(_report(quiet.model_copy(update={"status": "collecting"})))[1] == "Not enough predictions yet"
    assert titles(_report(quiet.model_copy(update={"status": "no_reference"})))[1] == "Not compared"


def test_a_service_that_is_not_ready_says_what_to_do() -> None:
    away = HEALTH.model_copy(update={"status": "unhealthy", "model_version": "<i>"})
    html = state_html(away, DRIFT, ready=False)
    assert titles(html)[0] == "The service is not ready"
    assert "Refresh in a moment" in html
    assert "<i>" not in html


def _report(drift: Drift) -> str:
    return state_html(HEALTH, drift, ready=True)


def histogram(reference: list[float] | None, current: list[float] | None) -> DriftHistogram:
    return DriftHistogram(edges=[0.0, 0.5, 1.0], reference=reference, current=current)


def test_each_share_has_a_bar_beside_the_longest_ones() -> None:
    html = histogram_html(histogram([0.25, 0.5], [0.5, 0.0]))
    assert re.findall(r'<th scope="row">([^<]*)<', html) == ["0% to 50%", "50% to 100%"]
    assert re.findall(r'<td>([\d.%]+)<span class="(\w+)" style="width:(\d+)%">', html) == [
        ("25.0%", "reference", "50"),
        ("50.0%", "current", "100"),
        ("50.0%", "reference", "100"),
        ("0.0%", "current", "0"),
    ]


def test_a_distribution_that_is_not_there_is_left_out() -> None:
    html = histogram_html(histogram([0.25, 0.75], None))
    assert 'class="current"' not in html
    assert "Newest predictions" not in html
    assert histogram_html(histogram(None, None)) == '<p class="facts">There are no scores to plot yet.</p>'
