import csv
import io
import re

from gateway.client import KeyRefusedError
from tests.ui.made import JPEG, rows, verdict
from ui.table import SHEET_COLUMNS, Row, csv_of, done_html, row_html, table_of


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


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


def test_a_row_says_what_it_is_sorted_and_filtered_by() -> None:
    drawn = [row_html(row) for row in rows()]
    groups = ["real", "ai_generated", "real closely", "failed", "failed"]
    assert [re.findall(r'data-groups="(.*?)"', html) for html in drawn] == [[group] for group in groups]
    probabilities = ["0.04", "0.9312", "0.42", "-1.0", "-1.0"]
    assert [re.findall(r'data-probability="(.*?)"', html) for html in drawn] == [[one] for one in probabilities]


def test_filters_say_how_many_rows_they_show() -> None:
    head = table_of(rows(), ended=True)["head"]
    shown = re.findall(r"<span>([^<]*) \((\d+)\)</span>", head)
    assert shown == [
        ("All", "5"),
        ("Likely AI-generated", "1"),
        ("Likely a real photograph", "2"),
        ("Look closely", "1"),
        ("Not checked", "2"),
    ]


def test_names_and_reasons_are_never_html() -> None:
    html = row_html(Row(1, '"><img src=x>', JPEG, None, "<b>no</b>"))
    assert html.count("<img") == 1
    assert "<b>" not in html


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
