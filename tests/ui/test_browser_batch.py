"""Many photos and the service's tab in a real browser, through the real gateway; and axe on every tab."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from deploy.layout import free_port
from tests.e2e.processes import Gateway, running_gateway, until
from tests.ui.browsers import PHONE, faults, open_tab, opened, posts
from tests.ui.fakes import VERSION, FakeGateway, FakeTorchServe, predicted, served
from tests.ui.photos import COFFEE, many_jpegs, plain_jpeg

Start = Callable[..., Gateway]
Photos = dict[str, bytes]

MANY = 150
BROKEN = {"cut.jpg": plain_jpeg()[:100], "=notes.txt": b"no picture"}
FAILED = {
    "cut.jpg": re.compile(r"Choose another photo: JPEG, PNG or WebP, complete and not damaged\."),
    "'=notes.txt": re.compile(r"Supported formats: JPEG, PNG, WebP"),
}
KEY = "a-key-of-the-tests"


@pytest.fixture(scope="module")
def model_server() -> Iterator[FakeTorchServe]:
    fake = FakeTorchServe(free_port())
    with served(fake.app(), fake.port):
        yield fake


@pytest.fixture(scope="module")
def start(
    model_server: FakeTorchServe, silent_gateway: FakeGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Start the real gateway where the page looks for it, but for one that runs already with the same settings."""
    log, running = tmp_path_factory.mktemp("logs") / "gateway.log", list[tuple[dict[str, str], Gateway]]()
    settings = {
        "GATEWAY_PORT": str(silent_gateway.port),
        "GATEWAY_TORCHSERVE_URL": f"http://127.0.0.1:{model_server.port}",
        "GATEWAY_DRIFT_WINDOW": "100",
        "RATE_LIMIT_ENABLED": "false",
    }
    with ExitStack() as opened:

        def started(**own: str) -> Gateway:
            if not running or running[-1][0] != own or running[-1][1].process.poll() is not None:
                opened.close()
                running.append((own, opened.enter_context(running_gateway(log, **settings, **own))))
            return running[-1][1]

        yield started


@pytest.fixture
def page(browser: Browser, page_address: str) -> Iterator[Page]:
    with opened(browser, page_address) as tab:
        open_tab(tab, "Many photos")
        yield tab


def choose(page: Page, photos: Photos) -> None:
    files = [FilePayload(name=name, mimeType="", buffer=content) for name, content in photos.items()]
    page.locator("#photos input[type=file]").set_input_files(files)
    expect(page.locator("#check-all")).to_be_enabled()


def downloaded(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    content = Path(download.value.path()).read_bytes()
    assert download.value.suggested_filename == "photo-verdicts.csv"
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def shown(page: Page, column: str) -> list[str]:
    """A column's values in the rows that are shown, from the top."""
    return list(
        page.locator("table.verdicts tbody").evaluate(
            "(body, column) => [...body.rows].filter(row => !row.hidden).map(row => row.dataset[column])", column
        )
    )


def on_disk(uploads: Path) -> list[Path]:
    """This file's photos: one that another test's tab chose as it closed stays until the sweep."""
    return [path for path in uploads.rglob("*") if path.name.startswith("photo ") or path.name in BROKEN]


def test_150_photos_with_two_broken_files_survive_a_killed_gateway(
    page: Page, start: Start, model_server: FakeTorchServe, uploads: Path
) -> None:
    photos = many_jpegs(MANY - len(BROKEN))
    names = [*list(photos)[:50], "cut.jpg", *list(photos)[50:100], "=notes.txt", *list(photos)[100:]]
    photos |= BROKEN
    model_server.pause_s = 0.5
    gateway = start()
    choose(page, {name: photos[name] for name in names})
    page.click("#check-all")
    expect(page.locator("#progress progress")).to_have_attribute("max", str(MANY))
    expect(page.locator("#progress strong")).to_have_text(re.compile(rf"^[1-9]\d+ of {MANY}$"))
    gateway.process.kill()
    gateway.process.wait()
    expect(page.locator("#progress")).to_contain_text("The service is down: waiting")
    settled = page.locator("table.verdicts tbody tr").count()
    assert 0 < settled < MANY
    model_server.pause_s = 0.0
    start()
    expect(page.locator("#progress h2")).to_have_text(f"{MANY} photos done")
    rows = downloaded(page)
    assert [(row["number"], row["file"].removeprefix("'")) for row in rows] == [
        (str(number), name) for number, name in enumerate(names, 1)
    ]
    for row in rows:
        if reason := FAILED.get(row["file"]):
            assert (row["prediction"], row["probability"]) == ("", "")
            assert reason.search(row["error"])
        else:
            expected = predicted(photos[row["file"]])
            assert {name: row[name] for name in expected} == {name: str(value) for name, value in expected.items()}
            assert row["error"] == ""
    assert on_disk(uploads) == []


def test_the_table_is_sorted_and_filtered_in_the_browser(page: Page, start: Start) -> None:
    photos = many_jpegs(24)
    scores = {name: predicted(content)["probability"] for name, content in photos.items()}
    start()
    choose(page, photos | BROKEN)
    page.locator("#check-all").press("Enter")
    expect(page.locator("#progress h2")).to_have_text("26 photos done")
    asked = posts(page)
    assert shown(page, "name") == [*photos, *BROKEN]
    button = page.get_by_role("button", name="AI probability")
    button.press("Enter")
    expect(page.get_by_role("columnheader", name="AI probability")).to_have_attribute("aria-sort", "descending")
    assert shown(page, "name")[:24] == sorted(photos, key=lambda name: -scores[name])
    button.press("Enter")
    assert shown(page, "name")[2:] == sorted(photos, key=lambda name: scores[name])
    page.get_by_role("radio", name=re.compile("^Likely AI")).check(force=True)
    flagged = sorted((name for name in photos if scores[name] >= 0.5), key=lambda name: scores[name])
    assert shown(page, "name") == flagged
    page.get_by_role("radio", name=re.compile("^Likely AI")).press("ArrowRight")
    assert sorted(shown(page, "name")) == sorted(set(photos) - set(flagged))
    page.get_by_role("radio", name="Not checked (2)").check(force=True)
    assert sorted(shown(page, "name")) == sorted(BROKEN)
    assert asked == []
    thumbnails = page.locator("table.verdicts tbody img")
    sources = thumbnails.evaluate_all("images => images.map(image => [image.src.slice(0, 23), image.naturalWidth])")
    assert sources == [["data:image/jpeg;base64,", 96]] * 24


def test_a_stopped_batch_keeps_its_photos_and_goes_on_when_asked(
    page: Page, start: Start, model_server: FakeTorchServe, uploads: Path
) -> None:
    model_server.pause_s = 1.0
    start()
    choose(page, many_jpegs(40))
    page.click("#check-all")
    expect(page.locator("table.verdicts tbody tr").first).to_be_visible()
    page.click("#stop")
    expect(page.locator("#progress h2")).to_have_text(re.compile(r"^\d0 photos of 40 left$"))
    model_server.pause_s = 0.0
    rows = downloaded(page)
    left = [row["error"] for row in rows if row["prediction"] == ""]
    assert (len(rows), set(left)) == (40, {"Stopped before it was sent."})
    assert len(on_disk(uploads)) == len(left)
    page.get_by_role("button", name=f"Check {len(left)} photos again").click()
    expect(page.locator("#progress h2")).to_have_text("40 photos done")
    assert [row["number"] for row in downloaded(page) if row["prediction"]] == [str(n) for n in range(1, 41)]
    assert on_disk(uploads) == []


def test_a_refused_key_costs_no_photo_and_can_be_mended(page: Page, start: Start) -> None:
    start(API_KEYS=KEY)
    choose(page, many_jpegs(12))
    page.click("#check-all")
    expect(page.locator("#progress h2")).to_have_text("12 photos of 12 left")
    expect(page.locator("#progress")).to_contain_text("Open API key on this page and enter a valid key.")
    page.get_by_role("button", name="API key").click()
    page.locator("#key input").fill(KEY)
    page.get_by_role("button", name="Check 12 photos again").click()
    expect(page.locator("#progress h2")).to_have_text("12 photos done")


def test_a_tab_that_is_closed_in_the_middle_leaves_nothing_on_disk(
    page: Page, start: Start, model_server: FakeTorchServe, uploads: Path
) -> None:
    model_server.pause_s = 1.0
    start()
    choose(page, many_jpegs(40))
    page.click("#check-all")
    expect(page.locator("table.verdicts tbody tr").first).to_be_visible()
    page.close()
    until(lambda: on_disk(uploads) == [])
    model_server.pause_s = 0.0


def nothing_serious(page: Page) -> None:
    """Neither in the light nor in the dark."""
    for dark in (True, False):
        page.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
        assert faults(page) == []


def test_axe_finds_nothing_serious_on_any_tab(browser: Browser, page_address: str, start: Start) -> None:
    start()
    with opened(browser, page_address) as page:
        page.add_style_tag(content="* { transition: none !important }")
        page.get_by_role("button", name="API key").click()
        nothing_serious(page)
        page.locator("#photo input[type=file]").set_input_files(COFFEE)
        expect(page.locator("#check")).to_be_enabled()
        page.click("#check")
        expect(page.locator("#answer .fade")).to_be_visible()
        nothing_serious(page)
        open_tab(page, "Many photos")
        choose(page, many_jpegs(30) | BROKEN)
        nothing_serious(page)
        page.click("#check-all")
        expect(page.locator("#progress h2")).to_have_text("32 photos done")
        nothing_serious(page)
        open_tab(page, "Service")
        expect(page.locator("#health-card h2")).to_have_text("The service is ready")
        expect(page.locator("#health-card")).to_contain_text(f"Live model version{VERSION}")
        for series in ("reference", "current"):
            expect(page.locator(f"#drift-card .{series}")).to_have_count(10)
        nothing_serious(page)
        spoken = page.locator("#answer, #progress, #report")
        assert spoken.evaluate_all("places => places.map(place => place.ariaLive)") == ["polite"] * 3
        page.set_viewport_size(PHONE)
        assert page.evaluate("() => document.documentElement.scrollWidth") == PHONE["width"]
