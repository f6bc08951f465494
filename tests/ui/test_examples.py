import pytest

from tests.ui.photos import COFFEE
from ui import tabs


def test_the_examples_of_an_installed_package_that_are_on_disk_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(tabs.installed()) == 3
    monkeypatch.setattr(tabs, "OFFERED", {"Coffee cup": "coffee.png", "Lamp": "no_lamp.png"})
    assert tabs.installed() == {"Coffee cup": COFFEE}
    monkeypatch.setattr(tabs, "PACKAGE", "no_such_package")
    assert tabs.installed() == {}
