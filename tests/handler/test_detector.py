import dataclasses
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from handler import gradcam
from handler.detector import Detector, Item, Prediction
from handler.heads import Head
from handler.images import BadImageError
from handler.spec import ModelSpec, Verdict
from tests.handler.detectors import eager
from tests.handler.pictures import encode, orientation, photo, stored_for

PHOTOS = [
    encode(photo(96, 64), "JPEG"),
    encode(Image.new("RGB", (50, 80), "orange"), "PNG"),
    encode(photo(64, 200).convert("L"), "WEBP"),
    encode(Image.effect_noise((90, 90), 80), "PNG"),
]
GARBAGE = b"no picture"
CORRUPT = PHOTOS[0][:300]


def predicted(answer: Prediction | BadImageError) -> Prediction:
    assert isinstance(answer, Prediction)
    return answer


def code(answer: Prediction | BadImageError) -> str:
    assert isinstance(answer, BadImageError)
    return answer.code


def verdicts(answers: list[Prediction | BadImageError]) -> list[Verdict]:
    return [predicted(answer).verdict for answer in answers]


@pytest.fixture(scope="module")
def alone(detector: Detector) -> list[Verdict]:
    """The verdict on each photo in a batch of its own."""
    return [predicted(detector.predict([Item(data)])[0]).verdict for data in PHOTOS]


def test_photos_are_told_apart(alone: list[Verdict]) -> None:
    assert len({verdict.probability for verdict in alone}) == len(PHOTOS)


def test_a_batch_gives_each_photo_the_probability_it_has_alone(detector: Detector, alone: list[Verdict]) -> None:
    together = verdicts(detector.predict([Item(data) for data in PHOTOS]))
    for batched, single in zip(together, alone, strict=True):
        assert batched.probability == pytest.approx(single.probability, abs=1e-4)
        assert batched.prediction == single.prediction


def test_a_mixed_batch_answers_each_at_its_own_index(detector: Detector, alone: list[Verdict]) -> None:
    answers = detector.predict(
        [
            Item(GARBAGE),
            Item(PHOTOS[1], explain=True),
            Item(CORRUPT, explain=True),
            Item(PHOTOS[0]),
            Item(PHOTOS[3], explain=True),
            Item(PHOTOS[2]),
        ]
    )
    assert (code(answers[0]), code(answers[2])) == ("unsupported_format", "corrupt_image")
    good = [predicted(answers[index]) for index in (3, 1, 5, 4)]
    assert [answer.verdict.prediction for answer in good] == [verdict.prediction for verdict in alone]
    assert [answer.verdict.probability for answer in good] == pytest.approx([v.probability for v in alone], abs=1e-4)
    assert [answer.heatmap is not None for answer in good] == [False, True, False, True]


def test_heat_maps_belong_to_their_photos(detector: Detector) -> None:
    answers = detector.predict([Item(PHOTOS[1], explain=True), Item(GARBAGE), Item(PHOTOS[2], explain=True)])
    sizes = [Image.open(BytesIO(predicted(answers[index]).heatmap or b"")).size for index in (0, 2)]
    assert sizes == [(50, 80), (64, 200)]


@pytest.mark.parametrize(("base_rate", "label"), [(1e-6, "real"), (1 - 1e-6, "ai_generated")])
def test_a_heat_map_shows_what_speaks_for_the_side_of_one_half(
    base_rate: float, label: str, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs: list[bool] = []

    def heat_maps(head: Head, features: Sequence[torch.Tensor], *, positive: bool) -> list[torch.Tensor]:
        signs.append(positive)
        return gradcam.heat_maps(head, features, positive=positive)

    monkeypatch.setattr(
        "handler.detector.gradcam", SimpleNamespace(heat_maps=heat_maps, overlay=gradcam.overlay, small=gradcam.small)
    )
    other = Detector(dataclasses.replace(detector.spec, base_rate=base_rate), detector.engine, detector.head)
    found = verdicts(other.predict([Item(picture, explain=True) for picture in PHOTOS]))
    assert {verdict.prediction for verdict in found} == {label}
    assert signs == [verdict.probability >= 0.5 for verdict in found]


def test_asking_for_an_explanation_does_not_change_the_verdict(detector: Detector, alone: list[Verdict]) -> None:
    assert verdicts(detector.predict([Item(PHOTOS[0], explain=True)])) == alone[:1]


def test_a_heat_map_is_upright_where_the_file_is_not(detector: Detector) -> None:
    data = encode(stored_for(photo(96, 64), 6), "JPEG", exif=orientation(6))
    heatmap = predicted(detector.predict([Item(data, explain=True)])[0]).heatmap
    assert heatmap is not None
    assert Image.open(BytesIO(heatmap)).size == (96, 64)


def test_the_narrowest_photo_does_not_spoil_its_batch(detector: Detector, alone: list[Verdict]) -> None:
    narrow = encode(Image.new("RGB", (10_000, 10)), "PNG")
    answers = detector.predict([Item(PHOTOS[0]), Item(narrow, explain=True)])
    assert predicted(answers[0]).verdict.prediction == alone[0].prediction
    assert predicted(answers[1]).heatmap is not None


def test_a_batch_of_bad_images_gives_their_codes_and_none_no_answers(detector: Detector) -> None:
    assert detector.predict([]) == []
    answers = detector.predict([Item(GARBAGE), Item(CORRUPT, explain=True), Item(b"")])
    assert [code(answer) for answer in answers] == ["unsupported_format", "corrupt_image", "unsupported_format"]


def test_warming_up_leaves_the_verdicts_alone(detector: Detector, alone: list[Verdict]) -> None:
    detector.warm_up(3)
    assert verdicts(detector.predict([Item(PHOTOS[0])])) == alone[:1]


def test_loaded_weights_predict_as_those_that_were_saved(
    spec: ModelSpec, model: nn.Module, alone: list[Verdict], tmp_path: Path
) -> None:
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded = eager(spec, tmp_path / "model.safetensors")
    assert [predicted(loaded.predict([Item(data)])[0]).verdict for data in PHOTOS] == alone
