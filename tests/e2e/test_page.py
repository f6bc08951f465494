"""Every tab of the page in a real browser, before the whole stack; UPDATE_SCREENSHOTS=1 draws the docs' pictures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, expect

from deploy.layout import ROOT
from deploy.local.stack import LocalStack
from gateway.client import Explanation
from tests.ui.browsers import chromium, faults, open_tab, opened
from tests.ui.conftest import running_page
from ui import wording

PICTURES = ROOT / "docs" / "pictures"
PICTURE_BYTES = 200_000
COLOURS = 160
SAMPLES = ("coffee.png", "rocket.jpg", "chelsea.png", "astronaut.png", "motorcycle_left.png")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_page(tmp_path_factory.mktemp("uploads"), stack.gateway_url) as found:
        yield found.address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with opened(browser, address) as tab:
        yield tab


@pytest.fixture(scope="module")
def samples() -> dict[str, bytes]:
    """Real photographs that scikit-image carries, a screenshot of one, and a file that is no picture."""
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    photos = {name: (folder / name).read_bytes() for name in SAMPLES}
    return photos | {"cut off.png": photos["coffee.png"][:200_000], "notes.txt": b"no picture"}


def test_one_photo_gets_the_live_models_verdict_heat_map_and_evidence(
    page: Page, gateway: httpx.Client, coffee: Path
) -> None:
    expected = Explanation(**gateway.post("/predict/explain", files={"file": coffee.read_bytes()}).json())
    page.get_by_role("button", name="Coffee cup").click()
    expect(page.locator("#check")).to_be_enabled()
    page.click("#check")
    expect(page.locator("#answer .score strong")).to_have_text(wording.percent(expected.probability))
    expect(page.locator("#answer h2")).to_have_text(wording.VERDICTS[expected.prediction])
    for words in ("What the file says", f"Model version {expected.model_version} "):
        expect(page.locator("#answer")).to_contain_text(words)
    page.get_by_role("slider").fill("60")
    expect(page.locator("#answer .heatmap")).to_have_css("opacity", "0.6")
    assert faults(page) == []
    picture(page, "page-one-photo")


def test_many_photos_get_a_table_and_the_broken_ones_their_reasons(
    page: Page, gateway: httpx.Client, samples: dict[str, bytes]
) -> None:
    expected = gateway.post("/predict", files={"file": samples["coffee.png"]}).json()["probability"]
    open_tab(page, "Many photos")
    files = [FilePayload(name=name, mimeType="", buffer=content) for name, content in samples.items()]
    page.locator("#photos input[type=file]").set_input_files(files)
    expect(page.locator("#check-all")).to_be_enabled()
    page.click("#check-all")
    expect(page.locator("#progress h2")).to_have_text(f"{len(samples)} photos done")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    content = Path(download.value.path()).read_text("utf-8-sig")
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(content))}
    assert list(rows) == list(samples)
    assert float(rows["coffee.png"]["probability"]) == pytest.approx(expected, abs=1.01e-4)  # as in any batch
    assert {name for name, row in rows.items() if row["error"]} == {"cut off.png", "notes.txt"}
    page.get_by_role("button", name="AI probability").click()
    assert faults(page) == []
    picture(page, "page-many-photos")


def test_the_service_tab_shows_the_live_model_and_the_scores_beside_the_reference(
    page: Page, gateway: httpx.Client
) -> None:
    version = gateway.get("/health").json()["model_version"]
    open_tab(page, "Service")
    expect(page.locator("#health-card h2")).to_have_text("The service is ready")
    expect(page.locator("#health-card")).to_contain_text(f"Live model version{version}")
    expect(page.locator("#drift-card .reference")).to_have_count(10)
    assert faults(page) == []
    picture(page, "page-service")


def picture(page: Page, name: str) -> None:
    """Draw a picture for the docs, if that is asked for, with few colours, so that it is small."""
    if os.environ.get("UPDATE_SCREENSHOTS") != "1":
        return
    page.mouse.move(0, 0)
    with Image.open(io.BytesIO(page.screenshot(full_page=True))) as shot:
        small = shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    PICTURES.mkdir(exist_ok=True)
    small.save(PICTURES / f"{name}.png", optimize=True)
    assert (PICTURES / f"{name}.png").stat().st_size < PICTURE_BYTES
