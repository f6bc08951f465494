"""The dashboards and their provisioning: complete, without overlap, and valid PromQL."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.layout import ROOT
from tests.ops.promql import metrics_of
from tests.ops.promtool import PROMETHEUS, needs_promtool, promtool

GRAFANA = ROOT / "docker" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
BOARDS: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text()) for file in FILES}
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in board["panels"]]
COLUMNS = 24
UNITS = {"short", "percent", "percentunit", "s", "bytes", "Bps", "ops", "reqps"}
"""Those of Grafana's units that are used here."""
KINDS = {"stat", "timeseries", "heatmap", "state-timeline"}


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_there_is_one_dashboard_for_the_service_and_one_for_the_model() -> None:
    assert {name: board["uid"] for name, board in BOARDS.items()} == {
        "service": "detector-service",
        "model": "detector-model",
    }
    assert len({board["title"] for board in BOARDS.values()}) == 2


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_can_be_read_by_hand(name: str) -> None:
    assert len((GRAFANA / "dashboards" / f"{name}.json").read_text().splitlines()) < 250


@pytest.mark.parametrize("name", BOARDS)
def test_the_other_dashboard_is_one_click_away(name: str) -> None:
    others = {f"/d/{board['uid']}" for board in BOARDS.values() if board is not BOARDS[name]}
    assert {link["url"] for link in BOARDS[name]["links"]} == others


@pytest.mark.parametrize("name", BOARDS)
def test_the_data_source_can_be_chosen(name: str) -> None:
    chosen = BOARDS[name]["templating"]["list"]
    assert [(one["name"], one["type"], one["query"]) for one in chosen] == [("datasource", "datasource", "prometheus")]
    used = {(panel["datasource"]["type"], panel["datasource"]["uid"]) for panel in BOARDS[name]["panels"]}
    assert used == {("prometheus", "${datasource}")}


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=lambda part: part["title"] if isinstance(part, dict) else part)
def test_a_panel_says_what_it_shows_and_in_which_unit(name: str, panel: dict[str, Any]) -> None:
    assert name in BOARDS
    assert panel["type"] in KINDS
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert all(target["legendFormat"] and target["expr"] for target in panel["targets"])
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_ids_titles_and_places_of_their_own(name: str) -> None:
    panels = BOARDS[name]["panels"]
    for key in ("id", "title"):
        assert len({panel[key] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert [place for place in places if place["x"] + place["w"] > COLUMNS] == []
    assert [pair for pair in combinations(places, 2) if overlap(*pair)] == []


def test_no_metric_is_on_both_dashboards() -> None:
    service, model = (
        {metric for panel in BOARDS[name]["panels"] for each in expressions(panel) for metric in metrics_of(each)}
        for name in ("service", "model")
    )
    assert service & model == set()


@needs_promtool
def test_every_expression_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:number_{number}", "expr": each.replace("$__rate_interval", "1m")}
        for number, each in enumerate(each for _, panel in PANELS for each in expressions(panel))
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", file)


def test_the_data_source_is_the_prometheus_of_the_stack_and_knows_its_interval() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text())
    (source,) = provisioned["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


def test_dashboards_are_provisioned_from_files_and_stay_as_they_are() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "dashboards.yaml").read_text())
    (provider,) = provisioned["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
