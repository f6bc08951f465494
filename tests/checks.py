"""An assertion that cannot pass because there was nothing to look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def none(bad: Iterable[object], *, of: Collection[object]) -> None:
    """Assert that nothing was found in a source, which must hold something: a regex or glob may have missed it all."""
    assert of, "the source is empty, so nothing was checked"
    found = list(bad)
    assert not found, found
