from __future__ import annotations

import pytest

from gateway.context import TraceParent, parse
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import TorchServe, picture, upload

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [(HEADER, True), (f" {HEADER}\t", True), (f"00-{TRACE}-{SPAN}-00", False), (f"cc-{TRACE}-{SPAN}-03-more", True)],
)
def test_what_the_specification_accepts(header: str, sampled: bool) -> None:
    assert parse(header) == TraceParent(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "junk",
        HEADER.upper(),
        f"{HEADER}-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0g",
        f"{HEADER}\n",
        f"00-{TRACE}-{SPAN}-01, {HEADER}",
    ],
)
def test_what_it_tells_to_ignore(header: str | None) -> None:
    assert parse(header) is None


def test_the_log_line_names_the_trace(open_client: OpenClient, log_lines: LogLines) -> None:
    open_client().get("/healthz", headers={"traceparent": HEADER})
    (line,) = log_lines()
    assert (line["trace_id"], line["span_id"]) == (TRACE, SPAN)
    assert "logging.googleapis.com/trace" not in line
    open_client(trace_project_id="my-project-1").get("/healthz", headers={"traceparent": HEADER})
    (line,) = log_lines()
    assert line["logging.googleapis.com/trace"] == f"projects/my-project-1/traces/{TRACE}"
    assert line["logging.googleapis.com/spanId"] == SPAN
    assert line["logging.googleapis.com/trace_sampled"] is True


def test_every_line_of_a_request_names_the_trace(
    open_client: OpenClient, torchserve: TorchServe, log_lines: LogLines
) -> None:
    torchserve.always(500)
    open_client().post("/predict", files={"file": upload(picture("JPEG"))}, headers={"traceparent": HEADER})
    assert [(line["event"], line["trace_id"]) for line in log_lines()] == [
        ("model_server_trouble", TRACE),
        ("request", TRACE),
    ]


def test_nothing_of_a_bad_header_is_logged(open_client: OpenClient, log_lines: LogLines) -> None:
    open_client(trace_project_id="my-project-1").get("/healthz", headers={"traceparent": f"{HEADER}-x"})
    (line,) = log_lines()
    assert "trace_id" not in line
    assert TRACE not in str(line)
