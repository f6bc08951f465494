from tests.ui.photos import COFFEE
from ui import examples


def test_the_examples_of_installed_packages_are_offered() -> None:
    found = examples.installed()
    assert found[0] == examples.Example("Coffee cup", COFFEE)
    assert all(example.path.is_file() for example in found)
