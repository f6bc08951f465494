from pathlib import Path

import pytest

from ui.settings import BadSettingError, Settings


def test_every_setting_is_read() -> None:
    env = {
        "UI_GATEWAY_URL": "https://photos.example/v1/",
        "UI_HOST": "0.0.0.0",  # noqa: S104  # read here, not bound
        "UI_PORT": " 8000 ",
        "UI_TIMEOUT_S": "2.5",
        "UI_PHOTO_MAX_BYTES": "1000",
        "UI_PHOTO_FOLDER": "/run/photos",
        "UI_PHOTOS_MAX_BYTES": "5000",
        "UI_ALLOWED_HOSTS": "Photos.example.com, *.example.org,[::2]",
        "UI_ROOT_PATH": "/photos/",
    }
    assert Settings.from_env(env).model_dump() == {
        "gateway_url": env["UI_GATEWAY_URL"],
        "host": env["UI_HOST"],
        "port": 8000,
        "timeout_s": 2.5,
        "photo_max_bytes": 1000,
        "photo_folder": Path("/run/photos"),
        "photos_max_bytes": 5000,
        "allowed_hosts": (*Settings().allowed_hosts, "photos.example.com", "*.example.org", "::2"),
        "root_path": "/photos",
    }
    assert Settings.from_env({"UI_PORT": ""}) == Settings()


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
    with pytest.raises(BadSettingError, match=name):
        Settings.from_env({name: value})
