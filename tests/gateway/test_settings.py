from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from gateway.settings import MIB, MOST, Settings, unknown_variables, variable


def test_a_key_under_the_prefixed_name_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_API_KEYS", "alpha")
    assert Settings().keys() == ["alpha"]
    monkeypatch.setenv("API_KEYS", "beta")
    assert Settings().keys() == ["beta"]


@pytest.mark.parametrize(("name", "value"), [("SHADOW_VERSION", "../1.0"), ("GATEWAY_REDIS_URL", "http://here")])
def test_nonsense_is_refused_at_start_up(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_keys_and_passwords_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_REDIS_URL", "redis://:hunter2@redis:6379/1")
    settings = Settings(api_keys=SecretStr("alpha"))
    assert "alpha" not in repr(settings)
    assert "hunter2" not in repr(settings)
    monkeypatch.setenv("GATEWAY_REDIS_URL", "http://:hunter2@redis")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", [",", " ", " , ,", "\t"])
def test_a_list_of_keys_without_a_key_does_not_open_the_door(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("API_KEYS", value)
    with pytest.raises(ValidationError, match="set but empty"):
        Settings()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GATEWAY_PREDICT_RATES", "GATEWAY_PREDICT_RATE"),
        ("GATWAY_PREDICT_RATE", "GATEWAY_PREDICT_RATE"),
        ("GATEWAY_NONSENSE", None),
        ("API_KEY", "API_KEYS"),
        ("API_KEY_FILE", "API_KEYS_FILE"),
    ],
)
def test_a_slip_in_a_name_is_found(name: str, meant: str | None) -> None:
    assert unknown_variables([name, "PATH", "HOME", "OPENAI_API_KEY", "REDIS_URL"]) == {name: meant}


def test_what_follows_from_other_settings() -> None:
    usual, raised = Settings(), Settings(max_pixels=100_000_000, max_batch_files=20, backend_concurrency=32)
    assert (usual.upload_budget_bytes, raised.upload_budget_bytes) == (96 * MIB, 139_941_206)
    assert (usual.max_side_pixels, raised.max_side_pixels) == (10_000, 20_000)
    assert (usual.max_pixels_in_flight, raised.max_pixels_in_flight) == (100_000_000, 200_000_000)
    assert Settings(max_pixels=20_000_000).max_side_pixels == 10_000


@pytest.mark.parametrize("name", MOST)
def test_more_than_the_model_server_takes_is_refused_at_start_up(name: str) -> None:
    Settings.model_validate({name: MOST[name]})
    with pytest.raises(ValidationError, match=f"{variable(name)} is .*Set {MOST[name]} or less"):
        Settings.model_validate({name: MOST[name] + 1})
