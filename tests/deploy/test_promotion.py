"""What is done to TorchServe, in which order, to make a version live; and that trouble leaves the live one alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.layout import Layout, StackError
from deploy.local.versions import Switchboard
from tests.deploy.fake_torchserve import NAME, FakeTorchServe, pack


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(var=tmp_path / "var", store=tmp_path / "store")
    for folder in (layout.store, layout.torchserve, layout.logs):
        folder.mkdir(parents=True)
    layout.config.write_text(f"job_queue_size=200\nload_models={NAME}.mar\nmetrics_mode=prometheus\n")
    pack(layout.store / f"{NAME}.mar", "1.1.0")
    for version in ("1.2.0", "1.3.0"):
        pack(layout.store / f"{NAME}-{version}.mar", version)
    return layout


@pytest.fixture
def torchserve(layout: Layout) -> FakeTorchServe:
    return FakeTorchServe(layout.store)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def switchboard(
    torchserve: FakeTorchServe, layout: Layout, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> Switchboard:
    monkeypatch.setattr("deploy.local.versions.POLL_S", 0.001)
    return Switchboard(torchserve.api(), layout, said.append)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass at once."""
    clock, steady = time.time, time.monotonic

    def pass_by(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: clock() + seconds)
        monkeypatch.setattr(time, "monotonic", lambda: steady() + seconds)

    return pass_by


def test_a_version_is_registered_started_and_tried_before_it_is_live_and_the_one_before_stays(
    switchboard: Switchboard, torchserve: FakeTorchServe, said: list[str]
) -> None:
    switchboard.promote("1.2.0")
    assert torchserve.done == [f"register {NAME}-1.2.0.mar", "ask 1.2.0", "set 1.2.0 live"]
    assert torchserve.models["1.1.0"].workers == 2
    assert said == [
        f"registering {NAME}-1.2.0.mar",
        "waiting for 1.2.0: 0 of 2 workers are ready (0 s)",
        "testing 1.2.0 on an image",
        "1.2.0 is live",
    ]


def test_it_gets_at_least_as_many_workers_as_the_live_version_has(
    switchboard: Switchboard, torchserve: FakeTorchServe
) -> None:
    torchserve.models["1.1.0"].workers = 5
    switchboard.promote("1.2.0")
    assert "scale 1.2.0 to 5" in torchserve.done


def test_a_version_that_somebody_registered_is_only_started(
    switchboard: Switchboard, torchserve: FakeTorchServe
) -> None:
    switchboard.promote("1.2.0")
    switchboard.rollback()
    torchserve.models["1.2.0"].workers = 1  # a shadow version's
    torchserve.done.clear()
    switchboard.promote("1.2.0")
    assert torchserve.done == ["scale 1.2.0 to 2", "ask 1.2.0", "set 1.2.0 live"]


def test_going_back_and_forward_again_starts_and_stops_nothing(
    switchboard: Switchboard, torchserve: FakeTorchServe
) -> None:
    switchboard.promote("1.2.0")
    torchserve.done.clear()
    assert [switchboard.rollback() for _ in range(3)] == ["1.1.0", "1.2.0", "1.1.0"]
    assert torchserve.done == [
        step for version in ("1.1.0", "1.2.0", "1.1.0") for step in (f"ask {version}", f"set {version} live")
    ]


def test_a_version_that_torchserve_has_forgotten_is_registered_again_to_go_back_to_it(
    switchboard: Switchboard, torchserve: FakeTorchServe
) -> None:
    switchboard.promote("1.2.0")
    del torchserve.models["1.1.0"]
    assert switchboard.rollback() == "1.1.0"
    assert torchserve.done[3] == f"register {NAME}.mar"


def test_what_died_comes_back_with_the_version_that_is_live(switchboard: Switchboard, layout: Layout) -> None:
    switchboard.promote("1.2.0")
    assert layout.config.read_text() == (f"job_queue_size=200\nmetrics_mode=prometheus\nload_models={NAME}-1.2.0.mar\n")
    switchboard.rollback()
    assert layout.config.read_text() == f"job_queue_size=200\nmetrics_mode=prometheus\nload_models={NAME}.mar\n"


def test_the_version_before_the_one_before_goes_once_it_can_hold_no_request(
    switchboard: Switchboard, torchserve: FakeTorchServe, later: Callable[[float], None], said: list[str]
) -> None:
    switchboard.promote("1.2.0")
    later(31)  # a batch is answered or given up within 30 s
    switchboard.promote("1.3.0")
    assert torchserve.done[-2:] == ["set 1.3.0 live", "unregister 1.1.0"]
    assert sorted(torchserve.models) == ["1.2.0", "1.3.0"]
    assert "waiting until 1.1.0 has finished its requests" not in said


@pytest.mark.parametrize("pending", [[], [0, 3]], ids=["the last batch", "a queue, which starts the wait again"])
def test_a_version_that_may_still_hold_requests_is_waited_for(
    switchboard: Switchboard,
    torchserve: FakeTorchServe,
    layout: Layout,
    later: Callable[[float], None],
    pending: list[int],
) -> None:
    switchboard.promote("1.2.0")
    later(31 if pending else 29)
    waited: list[str] = []

    def pass_by_when_waiting(what: str) -> None:
        if what.startswith("waiting until"):
            assert "unregister 1.1.0" not in torchserve.done
            waited.append(what)
            later(62)
        elif what.endswith("is live"):
            torchserve.models["1.1.0"].pending = pending  # the last one comes first

    Switchboard(torchserve.api(), layout, pass_by_when_waiting).promote("1.3.0")
    assert waited == ["waiting until 1.1.0 has finished its requests"]
    assert torchserve.done[-1] == "unregister 1.1.0"


def test_a_version_that_is_asked_by_its_number_is_left_alone(
    switchboard: Switchboard, torchserve: FakeTorchServe, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr("deploy.local.versions.DRAIN_S", 0.01)
    switchboard.promote("1.2.0")
    torchserve.models["1.1.0"].pending = [1] * 1000
    switchboard.promote("1.3.0")
    assert said[-1] == "1.1.0 still gets requests by version and stays loaded"
    assert sorted(torchserve.models) == ["1.1.0", "1.2.0", "1.3.0"]


def test_others_that_were_registered_by_hand_are_never_touched(
    switchboard: Switchboard, torchserve: FakeTorchServe, later: Callable[[float], None]
) -> None:
    switchboard.promote("1.3.0")
    switchboard.rollback()
    later(31)
    switchboard.promote("1.2.0")  # the one before is 1.1.0, and 1.3.0 goes
    torchserve.models["7.0.0"] = torchserve.models["1.1.0"]
    later(62)
    switchboard.rollback()
    assert [step for step in torchserve.done if step.startswith("unregister")] == ["unregister 1.3.0"]
    assert "7.0.0" in torchserve.models


def test_a_version_without_an_archive_is_refused_with_those_that_there_are(
    switchboard: Switchboard, torchserve: FakeTorchServe, layout: Layout
) -> None:
    (layout.store / f"{NAME}-9.mar").write_bytes(b"PK")
    with pytest.raises(StackError) as refused:
        switchboard.promote("2.0.0")
    assert str(refused.value) == (
        f"no archive of version 2.0.0 in {layout.store}; available: 1.2.0 ({NAME}-1.2.0.mar), "
        f"1.3.0 ({NAME}-1.3.0.mar), a broken one ({NAME}-9.mar), 1.1.0 ({NAME}.mar)"
    )
    assert torchserve.done == []


def test_without_a_version_before_there_is_no_way_back_but_names(switchboard: Switchboard) -> None:
    with pytest.raises(StackError) as refused:
        switchboard.rollback()
    assert str(refused.value) == ("no previous version: choose one with `make promote VERSION=` (1.2.0, 1.3.0, 1.1.0)")


def failed(switchboard: Switchboard, torchserve: FakeTorchServe, error: type[BaseException] = StackError) -> str:
    with pytest.raises(error) as failure:
        switchboard.promote("1.2.0")
    assert torchserve.done[-1] == "unregister 1.2.0"
    assert (torchserve.default, list(torchserve.models)) == ("1.1.0", ["1.1.0"])
    assert switchboard.former() is None
    return str(failure.value)


@pytest.mark.parametrize(
    ("calls_itself", "why"),
    [
        ("trouble", f"TorchServe refused POST /predictions/{NAME}/1.2.0 with 507: Worker died."),
        ("1.1.9", "the archive of 1.2.0 holds model version 1.1.9: repack it"),
        ("unready", "1.2.0 was not ready within 0.01 s; see .*torchserve.log"),
    ],
)
def test_a_version_that_fails_its_first_inference_or_is_never_ready_goes_again(
    switchboard: Switchboard,
    torchserve: FakeTorchServe,
    monkeypatch: pytest.MonkeyPatch,
    calls_itself: str,
    why: str,
) -> None:
    torchserve.calls_itself["1.2.0"] = calls_itself
    if calls_itself == "unready":
        monkeypatch.setattr("deploy.local.versions.READY_S", 0.01)
        torchserve.polls_until_ready = 1000
    assert re.fullmatch(why, failed(switchboard, torchserve))


def test_a_version_that_does_not_load_goes_again_and_its_error_is_told(
    switchboard: Switchboard, torchserve: FakeTorchServe, layout: Layout
) -> None:
    log = layout.logs / "torchserve.log"
    log.write_text(
        f"W-9000-{NAME}_1.2.0-stdout MODEL_LOG - OSError: an old story\nW-9000-{NAME}_1.2.0 Load model failed\n"
    )

    def fail_when_waiting(what: str) -> None:
        if what.startswith("waiting for"):
            with log.open("a") as file:
                file.write(
                    f"W-9001-{NAME}_1.2.0-rc1-stdout MODEL_LOG - ValueError: of another version\n"
                    f"W-9002-{NAME}_1.2.0-stdout MODEL_LOG - ValueError: temperature is out of range\n"
                    f"W-9002-{NAME}_1.2.0 Load model failed: {NAME}, error: Worker died.\n"
                )

    torchserve.polls_until_ready = 1000
    switchboard = Switchboard(torchserve.api(), layout, fail_when_waiting)
    assert failed(switchboard, torchserve) == (
        f"TorchServe cannot load 1.2.0 (ValueError: temperature is out of range); its log: {log}"
    )


def test_ctrl_c_takes_a_half_started_version_away(torchserve: FakeTorchServe, layout: Layout) -> None:
    def interrupt(what: str) -> None:
        if what.startswith("waiting for"):
            raise KeyboardInterrupt

    failed(Switchboard(torchserve.api(), layout, interrupt), torchserve, KeyboardInterrupt)


@pytest.mark.parametrize("note", ["", "{", "[]", '{"version": "1.0.0"}', '{"version": "1.0.0", "left_at": "soon"}'])
def test_a_broken_note_of_the_version_before_stops_nothing(
    switchboard: Switchboard, torchserve: FakeTorchServe, layout: Layout, note: str
) -> None:
    layout.former_version.write_text(note)
    switchboard.promote("1.2.0")
    assert torchserve.default == "1.2.0"
    former = switchboard.former()
    assert former is not None
    assert former.version == "1.1.0"
