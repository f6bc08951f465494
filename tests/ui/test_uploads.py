"""Whoever speaks to the page's server without the page gets no file of this machine judged, or shown."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ui.fakes import FakeGateway
from tests.ui.photos import COFFEE

SESSION = "a-session"
WAIT_S = 60.0


def described(path: Path) -> dict[str, Any]:
    return {"path": str(path), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}


def asked(address: str, name: str, data: list[Any], session: str = SESSION) -> list[dict[str, Any]]:
    """Trigger an event by its function's name, as the page does, and return what the server says of it."""
    with httpx.Client(base_url=address, trust_env=False, timeout=WAIT_S) as server:
        events = {event["api_name"]: event["id"] for event in server.get("/config").json()["dependencies"]}
        body = {"data": data, "fn_index": events[name], "session_hash": session}
        assert server.post("/gradio_api/queue/join", json=body).status_code == 200
        with server.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as answer:
            lines = [json.loads(line.removeprefix("data:")) for line in answer.iter_lines() if line.startswith("data:")]
    return [line for line in lines if line["msg"] in {"process_completed", "process_generating"}]


def uploaded(address: str, photo: Path) -> Path:
    files = {"files": (photo.name, photo.read_bytes(), "image/png")}
    (path,) = httpx.post(f"{address}/gradio_api/upload", files=files, trust_env=False, timeout=WAIT_S).json()
    return Path(path)


def test_an_upload_is_judged(page_address: str, gateway: FakeGateway) -> None:
    (last,) = asked(page_address, "check", [described(uploaded(page_address, COFFEE)), ""])
    assert last["success"] is True
    assert [received.photo for received in gateway.received] == [COFFEE.read_bytes()]


@pytest.mark.parametrize(
    ("event", "data"),
    [("check", [described(COFFEE), ""]), ("check_1", [[described(COFFEE)], ""])],
    ids=["one", "many"],
)
def test_what_was_not_uploaded_is_not_judged(
    page_address: str, gateway: FakeGateway, event: str, data: list[Any]
) -> None:
    (last,) = asked(page_address, event, data)
    assert last["success"] is False
    assert gateway.received == []


def test_several_uploads_are_taken_together(page_address: str, gateway: FakeGateway) -> None:
    steps = asked(page_address, "check_1", [[described(uploaded(page_address, COFFEE))], ""])
    assert steps[-1]["success"] is True
    assert gateway.received == []  # that gateway knows no batches
