import pytest

from tests.ui.photos import COFFEE
from ui import single


def test_the_examples_of_an_installed_package_that_are_on_disk_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(single.installed()) == 3
    monkeypatch.setattr(single, "OFFERED", {"Coffee cup": "coffee.png", "Lamp": "no_lamp.png"})
    assert single.installed() == {"Coffee cup": COFFEE}
    monkeypatch.setattr(single, "PACKAGE", "no_such_package")
    assert single.installed() == {}
