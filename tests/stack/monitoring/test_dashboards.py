"""What the demo reads from the dashboards."""

from __future__ import annotations

from stack.monitoring.dashboards import Query, dashboards


def test_the_service_comes_first_then_the_model() -> None:
    assert [board.title for board in dashboards()] == ["Detector: service", "Detector: model and drift"]


def test_a_threshold_that_grafana_draws_is_the_panels_limit() -> None:
    limits = {panel.title: panel.limit for board in dashboards() for panel in board.panels if panel.limit is not None}
    assert limits == {"Drift score": 1, "Time to a verdict": 1, "TorchServe: its machine": 90}


def test_a_query_takes_an_interval_and_names_its_series_as_grafana_does() -> None:
    query = Query("rate(x[$__rate_interval])", "{{status}} of {{endpoint}}")
    assert query.over("10s") == "rate(x[10s])"
    assert query.name({"status": "200"}) == "200 of "
