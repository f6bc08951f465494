import base64
import csv
import io
import re
from typing import Any

import pytest

from gateway.client import Drift, Health, KeyRefusedError, PhotoRefusedError, TooManyRequestsError
from gateway.client.answers import EMPTY_HEATMAP
from gateway.schemas import DriftCheck, DriftHistogram
from tests.ui.made import JPEG, evidence, explanation, rows, verdict
from ui import views
from ui.views import SHEET_COLUMNS, Row, csv_of, progress, table_of

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


def answer(photo: bytes | None = JPEG, **changes: object) -> str:
    return views.html("answer", answer=explanation().model_copy(update=changes), photo=photo)


def service(health: Health = HEALTH, *, ready: bool = True, **changes: object) -> str:
    return views.html("service", health=health, ready=ready, drift=DRIFT.model_copy(update=changes))


def titles(html: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", html)


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


EMPTY = base64.b64encode(JPEG + EMPTY_HEATMAP).decode()


@pytest.mark.parametrize(
    ("changes", "words", "absent"),
    [
        ({"confidence": "low"}, ["Low confidence: treat as undecided", 'class="card undecided"'], "card real"),
        ({"prediction": "ai_generated"}, ["speak most for AI generation"], "is empty"),
        ({"prediction": "real"}, ["speak most for a real photo"], "is empty"),
        ({"heatmap_base64": EMPTY}, ["The heat map is empty"], "warm areas"),
    ],
    ids=str,
)
def test_the_card_words_the_verdict_and_its_heat_map(changes: dict[str, Any], words: list[str], absent: str) -> None:
    html = answer(**changes)
    assert [each for each in words if each not in html] == []
    assert absent not in html


def test_evidence_is_in_words_with_its_strength_and_what_was_left_out_without() -> None:
    assert "That proves nothing" in answer(evidence=())
    found = [("iptc_source_type", "digitalCapture"), ("new_kind", "new value"), ("incomplete", "no time")]
    html = answer(evidence=tuple(evidence(*one) for one in found))
    weak = '<span class="strength">(weak: a hint that anybody can type)</span>'
    assert re.findall("<li>(.*)</li>", html) == [
        f"<strong>Kind of source, by its IPTC metadata:</strong> taken with a digital camera {weak}",
        f"<strong>new_kind:</strong> new value {weak}",
        "<strong>Not everything was read:</strong> no time",
    ]
    assert "does not affect the probability" in html


def test_nothing_from_outside_is_ever_html() -> None:
    bad = '"><img src=x onerror=alert(1)>'
    for html in (
        answer(None, model_version=bad, evidence=(evidence(bad, bad),)),
        views.error(PhotoRefusedError(bad, request_id=bad)),
        views.html("row", row=Row(1, bad, None, None, bad)),
        views.html("row", row=Row(1, bad, None, verdict())),
        progress([], total=1, ended=False, note=bad),
        progress(rows(), total=5, ended=True, trouble=KeyRefusedError(bad)),
        service(HEALTH.model_copy(update={"status": bad, "model_version": bad}), status=bad, drift_detected=False),
        service(reason=bad, checks=[DriftCheck(name=bad, score=1, threshold=1, samples=1, alert=False)]),
    ):
        assert "&gt;&lt;img" in html
        assert bad not in html
        assert "<img src=x" not in html


def test_an_error_says_what_happened_what_the_service_said_and_what_to_do() -> None:
    html = views.error(TooManyRequestsError("Limit: 10 a minute.", retry_after_s=17, request_id="abc"))
    for words in ("Too many checks in a short time", "Limit: 10 a minute.", "wait 17 seconds", "Reference abc"):
        assert words in html


def test_every_photo_has_a_row_in_the_csv_and_a_failed_one_its_reason() -> None:
    assert read(csv_of(rows())) == [
        list(SHEET_COLUMNS),
        ["1", "shoe.jpg", "real", "0.04", "high", "1.0.0", ""],
        ["2", "lamp.png", "ai_generated", "0.9312", "high", "1.0.0", ""],
        ["3", "mug.webp", "real", "0.42", "low", "1.0.0", ""],
        ["4", "'=notes.txt", "", "", "", "", "Supported formats: JPEG, PNG, WebP."],
        ["5", "chair.jpg", "", "", "", "", "The service is down."],
    ]


def test_no_name_is_a_formula_and_every_name_can_be_written() -> None:
    names = ['=HYPERLINK("x")', "+1", "-1", "@sum", "\tx", 'a "b", c.jpg', "Schöne Müsli 🥣.jpg", "\udc80.jpg"]
    content = csv_of([Row(1, name, None, verdict()) for name in names])
    assert [row[1] for row in read(content)[1:]] == [*(f"'{name}" for name in names[:5]), *names[5:7], "?.jpg"]


def test_rows_say_what_they_are_sorted_and_filtered_by_and_filters_how_many_they_show() -> None:
    table = table_of(rows(), ended=True)
    assert re.findall(r'data-groups="(.*?)".*data-probability="(.*?)"', "".join(table["rows"])) == [
        ("real", "0.04"),
        ("ai_generated", "0.9312"),
        ("real closely", "0.42"),
        ("failed", "-1.0"),
        ("failed", "-1.0"),
    ]
    assert re.findall(r"<span>([^<]*) \((\d+)\)</span>", table["head"]) == [
        ("All", "5"),
        ("Likely AI-generated", "1"),
        ("Likely a real photograph", "2"),
        ("Look closely", "1"),
        ("Not checked", "2"),
    ]


def test_a_batch_that_is_done_says_what_came_of_it() -> None:
    html = progress([row for row in rows() if not row.again], total=4, ended=True)
    assert titles(html) == ["4 photos done"]
    assert "1 likely AI-generated · 2 likely real · 1 to look at closely · 1 not checked" in html


def test_photos_that_are_left_are_counted_with_the_reason_and_what_helps() -> None:
    html = progress(rows(), total=5, ended=True, trouble=KeyRefusedError("Missing API key."))
    assert titles(html) == ["1 photo of 5 left"]
    assert (
        "The service wants an API key: Missing API key. "
        "Open API key on this page and enter a valid key. Press Check 1 photo again."
    ) in html


def test_health_and_drift_are_in_words_with_their_numbers() -> None:
    unready, html = service(ready=False), service()
    assert titles(unready)[0] == "The service is not ready"
    assert "Refresh in a moment" in unready
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
    assert re.findall(r'<tr.*?><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>', html) == [
        ("probability mean", "0.020", "0.050", "fine"),
        ("brightness ks", "0.250", "0.100", "over its threshold"),
        ("sharpness ks", "none", "none", "too few photos"),
    ]


@pytest.mark.parametrize(
    ("status", "title"),
    [
        ("monitoring", "No drift"),
        ("collecting", "Not enough predictions yet"),
        ("no_reference", "Not compared"),
        ("other_version", "Not compared"),
    ],
)
def test_without_drift_the_status_says_what_is_compared(status: str, title: str) -> None:
    assert titles(service(drift_detected=False, checks=[], status=status)) == ["The service is ready", title]


def histogram(reference: list[float] | None, current: list[float] | None) -> str:
    return service(histogram=DriftHistogram(edges=[0.0, 0.5, 1.0], reference=reference, current=current), checks=[])


def test_each_share_has_a_bar_beside_the_longest_ones() -> None:
    html = histogram([0.25, 0.5], [0.5, 0.0])
    assert re.findall(r'<th scope="row">([^<]*)<', html) == ["0% to 50%", "50% to 100%"]
    assert re.findall(r'<td>([\d.%]+)<span class="(\w+)" style="width:(\d+)%">', html) == [
        ("25.0%", "reference", "50"),
        ("50.0%", "current", "100"),
        ("50.0%", "reference", "100"),
        ("0.0%", "current", "0"),
    ]
    alone = histogram([0.25, 0.75], None)
    assert ('class="current"' in alone, "Newest predictions" in alone) == (False, False)
    assert "There are no scores to plot yet." in histogram(None, None)
