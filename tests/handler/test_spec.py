import json
from typing import Any

import pytest
import yaml

from handler.spec import InvalidSpecError, ModelSpec

UNUSUAL = ModelSpec(
    version="2.1.0",
    architecture="efficientnet_b1",
    labels=("photo", "render"),
    temperature=1.25,
    offset=-0.5,
    base_rate=0.4,
    operating_point="balanced",
    true_positive_rate=0.8,
    false_positive_rate=0.2,
    input_size=240,
    trim_canvas=True,
    crop_pct=0.875,
    details=2,
    detail_size=320,
    mean=(0.5, 0.4, 0.3),
    std=(0.1, 0.2, 0.3),
)
TRANSFORMER = ModelSpec(
    version="2.0.0", architecture="vit_base_patch16_224", details=1, blocks=8, read_blocks=(7, 8), hidden=16
)


@pytest.mark.parametrize("spec", [UNUSUAL, TRANSFORMER])
def test_yaml_and_json_give_back_the_same_spec(spec: ModelSpec) -> None:
    assert ModelSpec.from_mapping(yaml.safe_load(yaml.safe_dump(spec.to_mapping()))) == spec
    assert ModelSpec.from_mapping(json.loads(json.dumps(spec.to_mapping()))) == spec


def test_only_the_version_must_be_named() -> None:
    assert ModelSpec.from_mapping({"version": "1.0.0"}) == ModelSpec(version="1.0.0")


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(InvalidSpecError, match=r"^model spec: unknown fields \['treshold'\]$"):
        ModelSpec.from_mapping({"version": "1.0.0", "treshold": 0.5})


def test_a_spec_of_an_older_version_says_what_to_do() -> None:
    with pytest.raises(InvalidSpecError, match=r"\['threshold'\]: .* pack it again with `python -m training\.repack "):
        ModelSpec.from_mapping({"version": "1.2.0", "threshold": 0.8124})


def test_a_missing_version_is_refused_by_name() -> None:
    with pytest.raises(InvalidSpecError, match="'version'"):
        ModelSpec.from_mapping({})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("offset", float("nan")),
        ("offset", float("inf")),
        ("base_rate", 0.0),
        ("base_rate", 1.0),
        ("input_size", 0),
        ("crop_pct", 0.0),
        ("crop_pct", 1.01),
        ("details", -1),
        ("detail_size", 0),
        ("labels", ["real"]),
        ("labels", ["real", "ai_generated", "unsure"]),
        ("mean", [0.5, 0.5]),
        ("std", [0.2, 0.2]),
        ("std", [0.2, 0.0, 0.2]),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: Any) -> None:  # noqa: ANN401 - one of many types
    with pytest.raises(InvalidSpecError, match=f"^model spec: {field} is out of range"):
        ModelSpec.from_mapping({"version": "1.0.0", field: value})


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("blocks", {"blocks": -1}),
        ("read_blocks", {"read_blocks": []}),
        ("read_blocks", {"read_blocks": [6, 7]}),
        ("read_blocks", {"read_blocks": [0, 8]}),
        ("read_blocks", {"read_blocks": [8, 7, 8]}),
        ("read_blocks", {"blocks": 0, "hidden": 0}),
        ("hidden", {"hidden": -1}),
        ("hidden", {"blocks": 0, "read_blocks": []}),
        ("detail_size", {"detail_size": 320}),
    ],
)
def test_blocks_that_cannot_be_read_are_refused_by_name(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpecError, match=f"^model spec: {field} is out of range"):
        ModelSpec.from_mapping(TRANSFORMER.to_mapping() | values)
