"""The page for those who cannot see it well, or use no mouse: axe on every tab, and the service's own tab."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from deploy.layout import free_port
from tests.e2e.processes import running_gateway
from tests.ui.browsers import PHONE, Scheme, faults, open_tab, opened
from tests.ui.fakes import VERSION, FakeGateway, FakeTorchServe, served
from tests.ui.photos import COFFEE, many_jpegs


@pytest.fixture
def _gateway(silent_gateway: FakeGateway, tmp_path: Path) -> Iterator[None]:
    """The real gateway in front of a fast model server, where the page looks for it."""
    model_server = FakeTorchServe(free_port())
    settings = {
        "GATEWAY_PORT": str(silent_gateway.port),
        "GATEWAY_TORCHSERVE_URL": f"http://127.0.0.1:{model_server.port}",
        "GATEWAY_DRIFT_WINDOW": "100",
        "RATE_LIMIT_ENABLED": "false",
    }
    with (
        served(model_server.app(), model_server.port),
        running_gateway(tmp_path / "gateway.log", **settings),
    ):
        yield


def check_one(page: Page) -> None:
    page.locator("#photo input[type=file]").set_input_files(COFFEE)
    expect(page.locator("#check")).to_be_enabled()
    page.click("#check")
    expect(page.locator("#answer .fade")).to_be_visible()


def check_many(page: Page, count: int) -> None:
    photos = many_jpegs(count) | {"notes.txt": b"no picture"}
    files = [FilePayload(name=name, mimeType="", buffer=content) for name, content in photos.items()]
    page.locator("#photos input[type=file]").set_input_files(files)
    expect(page.locator("#check-all")).to_be_enabled()
    assert faults(page) == []
    page.click("#check-all")
    expect(page.locator("#progress h2")).to_have_text(f"{count + 1} photos done")


@pytest.mark.usefixtures("_gateway")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_tab(browser: Browser, page_address: str, scheme: Scheme) -> None:
    with opened(browser, page_address, scheme) as page:
        expect(page.locator("body.dark")).to_have_count(1 if scheme == "dark" else 0)
        page.get_by_role("button", name="API key").click()
        assert faults(page) == []
        check_one(page)
        assert faults(page) == []
        open_tab(page, "Many photos")
        assert faults(page) == []
        check_many(page, 30)
        assert faults(page) == []
        open_tab(page, "Service")
        expect(page.locator("#drift-card h2")).to_have_text("Not enough predictions yet")
        assert faults(page) == []
        assert (
            page.locator("#answer, #progress, #report").evaluate_all("places => places.map(place => place.ariaLive)")
            == ["polite"] * 3
        )


@pytest.mark.usefixtures("_gateway")
def test_the_service_tab_shows_health_drift_and_both_distributions(browser: Browser, page_address: str) -> None:
    with opened(browser, page_address) as page:
        open_tab(page, "Service")
        expect(page.locator("#health-card h2")).to_have_text("The service is ready")
        expect(page.locator("#health-card")).to_contain_text(f"Live model version{VERSION}")
        expect(page.locator("#drift-card h2")).to_have_text("Not enough predictions yet")
        expect(page.locator("#drift-card .reference")).to_have_count(10)
        expect(page.locator("#drift-card .current")).to_have_count(0)
        open_tab(page, "One photo")
        check_one(page)
        open_tab(page, "Service")
        expect(page.locator("#drift-card .current")).to_have_count(10)
        page.set_viewport_size(PHONE)
        assert page.evaluate("() => document.documentElement.scrollWidth") == PHONE["width"]
