import pytest

from tests.ui.photos import COFFEE
from ui import single


def test_the_examples_of_installed_packages_are_offered() -> None:
    found = single.installed()
    assert found["Coffee cup"] == COFFEE
    assert all(path.is_file() for path in found.values())


def test_what_is_not_on_disk_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = (("Lamp", "skimage", "data/no_lamp.png"), ("Shoe", "no_such_package", "shoe.png"))
    monkeypatch.setattr(single, "OFFERED", offered)
    assert single.installed() == {}
