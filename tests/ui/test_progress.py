from gateway.client import KeyRefusedError
from tests.ui.made import rows
from ui.table import done_html


def test_a_batch_that_is_done_says_what_came_of_it() -> None:
    html = done_html([row for row in rows() if not row.again])
    assert "<h2>4 photos done</h2>" in html
    assert 'class="card quiet"' in html


def test_photos_that_are_left_are_counted_with_the_reason_and_what_helps() -> None:
    html = done_html(rows(), KeyRefusedError("Missing API key."))
    assert "<h2>1 photo of 5 left</h2>" in html
    assert (
        "The service wants an API key: Missing API key. "
        "Open API key on this page and enter a valid key. Press Check 1 photo again."
    ) in html
