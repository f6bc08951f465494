"""The page in a real browser, with the real page process and a gateway that records what it gets."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.responses import JSONResponse, Response

from tests.e2e.processes import until
from tests.ui.browsers import PHONE, opened, posts
from tests.ui.fakes import FakeGateway
from tests.ui.photos import COFFEE, clear_png, plain_jpeg, rotated_jpeg, webp

# The last one ends the photo's stay.
REFUSALS = [
    (JSONResponse({"error": "x", "detail": "It is loading."}, 503, {"Retry-After": "5"}), "is loading.*wait 5 seconds"),
    (JSONResponse({"error": "x", "detail": "10 a minute."}, 429), "Too many checks.*10 a minute"),
    (JSONResponse({"error": "x", "detail": "Missing API key."}, 401), "wants an API key.*Missing API key"),
    (Response("<h1>Oops</h1>", 500), "failed internally"),
    (Response("<h1>Hello</h1>"), "Unexpected response from the service"),
    (JSONResponse({"error": "Invalid image", "detail": "It is cut short."}, 400), "cannot be checked.*cut short"),
]


@pytest.fixture
def page_alone(browser: Browser, page_address: str) -> Iterator[Page]:
    """The page in a fresh tab."""
    with opened(browser, page_address) as tab:
        yield tab


@pytest.fixture
def page(page_alone: Page, gateway: FakeGateway) -> Page:
    """The page in a fresh tab, with the gateway running."""
    assert gateway.received == []
    return page_alone


def choose(page: Page, photo: Path | tuple[str, bytes]) -> None:
    upload = page.locator("#photo input[type=file]")
    if isinstance(photo, Path):
        upload.set_input_files(photo)
    else:
        name, content = photo
        upload.set_input_files({"name": name, "mimeType": "", "buffer": content})
    expect(page.locator("#check")).to_be_enabled()


def check(page: Page, photo: Path | tuple[str, bytes]) -> None:
    choose(page, photo)
    page.click("#check")


def sha256(photo: bytes) -> str:
    return hashlib.sha256(photo).hexdigest()


def shape(page: Page, picture: str) -> tuple[float, float]:
    """Natural and shown width to height of a picture, once it is loaded."""
    image = page.locator(f"#answer img.{picture}")
    expect(image).to_be_visible()
    image.evaluate("i => i.decode()")
    natural, shown = image.evaluate("i => [i.naturalWidth / i.naturalHeight, i.clientWidth / i.clientHeight]")
    return natural, shown


def on_disk(uploads: Path, name: str) -> int:
    return len(list(uploads.rglob(name)))


def test_an_example_is_checked_byte_for_byte_and_gets_a_verdict_in_words_with_its_heat_map(
    page: Page, gateway: FakeGateway, uploads: Path
) -> None:
    page.get_by_role("button", name="Coffee cup").click()
    expect(page.locator("#check")).to_be_enabled()
    page.click("#check")
    answer = page.locator("#answer")
    for words in ("Likely AI-generated", "87.0%", "High confidence", "a hint, not proof", "1.0.0", "120 ms"):
        expect(answer).to_contain_text(words)
    expect(page.locator(".evidence li")).to_have_text(re.compile("made by a trained model.*nobody vouches for"))
    for picture in ("photo", "heatmap"):
        assert shape(page, picture) == pytest.approx((600 / 400, 600 / 400), rel=0.02)
    [received] = gateway.received
    assert (received.photo, received.query) == (COFFEE.read_bytes(), {"include": "evidence"})
    assert (on_disk(uploads, "coffee.png"), COFFEE.is_file()) == (0, True)


def test_the_heat_map_fades_over_the_photo_without_another_request(page: Page, gateway: FakeGateway) -> None:
    check(page, COFFEE)
    slider = page.get_by_role("slider", name="Heat map over your photo")
    expect(slider).to_have_value("100")
    expect(page.locator("#check")).to_be_disabled()
    asked = posts(page)
    slider.press("Home")
    expect(page.locator("#answer .heatmap")).to_have_css("opacity", "0")
    for _ in range(8):
        slider.press("ArrowRight")
    expect(page.locator("#answer .heatmap")).to_have_css("opacity", "0.4")
    expect(slider).to_have_attribute("aria-valuetext", "40 percent")
    places = [page.locator(f"#answer .{name}").bounding_box() for name in ("photo", "heatmap")]
    assert places[0] == places[1]
    assert (asked, len(gateway.received)) == ([], 1)


def test_the_gateway_gets_every_uploads_own_bytes_and_the_page_deletes_it(
    page: Page, gateway: FakeGateway, uploads: Path
) -> None:
    photos = {
        "plain.jpg": plain_jpeg(),
        "rotated.jpg": rotated_jpeg(320, 200),
        "clear.png": clear_png(90, 60),
        "shop.webp": webp(),
    }
    for upload in photos.items():
        check(page, upload)
        expect(page.locator("#answer")).to_contain_text("Likely AI-generated")
        expect(page.locator("#check")).to_be_disabled()
    assert [sha256(received.photo) for received in gateway.received] == [sha256(photo) for photo in photos.values()]
    assert {received.filename for received in gateway.received} == {"photo"}
    assert [on_disk(uploads, name) for name in photos] == [0] * len(photos)


def test_each_refusal_says_what_the_service_said_and_keeps_the_photo_if_another_try_can_help(
    page: Page, gateway: FakeGateway
) -> None:
    cut_short = plain_jpeg()[:300]
    choose(page, ("cut.jpg", cut_short))
    for refusal, words in REFUSALS:
        gateway.refusal = refusal
        page.click("#check")
        expect(page.locator("#answer .trouble")).to_contain_text(re.compile(words, re.DOTALL))
    expect(page.locator("#check")).to_be_disabled()
    assert [received.photo for received in gateway.received] == [cut_short] * len(REFUSALS)


def test_a_key_is_sent_as_the_header_and_hidden_on_the_page(page: Page, gateway: FakeGateway) -> None:
    page.get_by_role("button", name="API key").click()
    key = page.locator("#key input")
    key.fill("a-secret")
    assert key.get_attribute("type") == "password"
    check(page, COFFEE)
    expect(page.locator("#answer")).to_contain_text("Likely AI-generated")
    assert gateway.received[0].headers["X-API-Key"] == "a-secret"
    assert gateway.received[0].headers["X-Forwarded-For"] == "127.0.0.1"
    kept = page.evaluate("() => JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie")
    assert "a-secret" not in kept


def test_a_closed_tab_takes_its_photo_along(page: Page, uploads: Path) -> None:
    choose(page, ("closed.jpg", plain_jpeg()))
    assert on_disk(uploads, "closed.jpg") == 1
    page.close()
    until(lambda: on_disk(uploads, "closed.jpg") == 0)


def test_a_photo_that_was_swept_away_is_to_be_chosen_again(page: Page, uploads: Path) -> None:
    choose(page, ("swept.jpg", plain_jpeg()))
    (photo,) = uploads.rglob("swept.jpg")
    photo.unlink()
    page.click("#check")
    expect(page.locator("#answer")).to_contain_text("Choose the photo again")


def test_the_page_fits_a_phone_and_scrolls_to_the_answer(page: Page) -> None:
    page.set_viewport_size(PHONE)
    check(page, COFFEE)
    expect(page.get_by_text("Likely AI-generated")).to_be_in_viewport()
    assert page.evaluate("() => document.documentElement.scrollWidth") == PHONE["width"]


def test_the_photo_can_be_chosen_and_checked_with_the_keyboard(page: Page) -> None:
    drop_zone = page.locator("#photo button.upload-container")
    expect(drop_zone).to_be_visible()
    for focused in (page.get_by_role("button", name="API key"), page.get_by_role("tab", name="One photo")):
        page.keyboard.press("Tab")
        expect(focused).to_be_focused()
    drop_zone.focus()
    with page.expect_file_chooser() as chooser:
        while not chooser.is_done():  # Gradio paints the button before it listens to it
            drop_zone.press("Enter")
            page.wait_for_timeout(1000)
    chooser.value.set_files(COFFEE)
    expect(page.locator("#check")).to_be_enabled()
    page.locator("#check").press("Enter")
    expect(page.locator("#answer")).to_contain_text("Likely AI-generated")
