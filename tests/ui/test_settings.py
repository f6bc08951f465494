from pathlib import Path

import pytest

from ui.settings import BadSetting, Settings


def test_every_setting_is_read() -> None:
    env = {
        "UI_GATEWAY_URL": "https://photos.example/v1/",
        "UI_HOST": "0.0.0.0",  # noqa: S104  # read here, not bound
        "UI_PORT": "8000",
        "UI_TIMEOUT_S": "2.5",
        "UI_PHOTO_MAX_BYTES": "1000",
        "UI_PHOTO_FOLDER": "/run/photos",
        "UI_PHOTOS_MAX_BYTES": "5000",
        "UI_ALLOWED_HOSTS": "Photos.example.com, *.example.org,[::2]",
        "UI_ROOT_PATH": "/photos/",
    }
    assert Settings.from_env(env) == Settings(
        "https://photos.example/v1",
        env["UI_HOST"],
        8000,
        2.5,
        1000,
        Path("/run/photos"),
        5000,
        (*Settings().allowed_hosts, "photos.example.com", "*.example.org", "::2"),
        "/photos",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UI_GATEWAY_URL", "127.0.0.1:8080"),
        ("UI_GATEWAY_URL", "ftp://gateway"),
        ("UI_PORT", "0"),
        ("UI_PORT", "http"),
        ("UI_TIMEOUT_S", "nan"),
        ("UI_TIMEOUT_S", "0"),
        ("UI_PHOTO_MAX_BYTES", "-1"),
        ("UI_ALLOWED_HOSTS", "https://photos.example.com"),
        ("UI_ALLOWED_HOSTS", "photos.example.com:443"),
        ("UI_ROOT_PATH", "photos"),
        ("UI_ROOT_PATH", "/../x y"),
    ],
)
def test_a_bad_value_is_named_in_the_error(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        Settings.from_env({name: value})
