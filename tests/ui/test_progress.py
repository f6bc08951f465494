from tests.ui.made import rows
from ui.errors import KeyRefused
from ui.progress import done_html, running_html

COUNTS = "1 likely AI-generated · 2 likely real · 1 to look at closely · 2 not checked"


def test_the_bar_says_how_far_it_is_in_words_and_numbers() -> None:
    html = running_html(rows(), 300, "The service is down: waiting <1> second")
    assert '<progress max="300" value="5" aria-label="Photos checked"></progress>' in html
    assert "<strong>5 of 300</strong>" in html
    assert COUNTS in html
    assert "waiting &lt;1&gt; second" in html


def test_a_batch_that_is_done_says_what_came_of_it() -> None:
    html = done_html([row for row in rows() if not row.again])
    assert "<h2>4 photos done</h2>" in html
    assert 'class="card quiet"' in html


def test_photos_that_are_left_are_counted_with_the_reason_and_what_helps() -> None:
    html = done_html(rows(), KeyRefused("Missing API key."))
    assert "<h2>1 photo of 5 left</h2>" in html
    assert (
        "The service wants an API key: Missing API key. "
        "Open API key on this page and enter a valid key. Press Check 1 photo again."
    ) in html
