import zipfile
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from handler.spec import ModelSpec
from training.files import StageError
from training.model import module

pytestmark = pytest.mark.slow

SPEC = ModelSpec(version="1")


def donor() -> dict[str, torch.Tensor]:
    return dict(module._donor_weights())  # noqa: SLF001 - what the claims are about


def test_the_packages_weights_fill_every_tensor_of_the_donor() -> None:
    model = timm.create_model(module.DONOR)
    model.load_state_dict(donor())
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())


def test_every_convolution_and_normalisation_starts_as_the_donors() -> None:
    weights, own = donor(), module.starting_network(SPEC, "package").state_dict()
    shared = [name for name in weights if not name.startswith("classifier")]
    assert len(shared) == 294
    assert all(torch.equal(weights[name], own[name]) for name in shared)
    assert {name for name in own if name not in weights} == {name for name in own if ".se." in name}


def test_the_gates_start_open() -> None:
    model = module.starting_network(SPEC, "package").eval()
    gates = [module for name, module in model.named_modules() if name.endswith(".se")]
    assert len(gates) == 16
    for gate in gates:
        features = torch.randn(2, gate.get_parameter("conv_reduce.weight").shape[1], 4, 4)
        torch.testing.assert_close(gate(features), features * 0.982, rtol=1e-3, atol=1e-5)


def test_another_architecture_cannot_start_from_the_package() -> None:
    with pytest.raises(StageError, match=r"do not fit efficientnet_b1: set model\.weights"):
        module.starting_network(ModelSpec(version="1", architecture="efficientnet_b1"), "package")


def test_training_goes_on_from_a_runs_weights_and_from_an_archive(tmp_path: Path) -> None:
    trained = module.starting_network(SPEC, "random").state_dict()
    run, archive = tmp_path / "model.safetensors", tmp_path / "detector.mar"
    save_file(trained, run)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(run, "model.safetensors")
    for file in (run, archive):
        own = module.starting_network(SPEC, str(file)).state_dict()
        assert all(torch.equal(own[name], tensor) for name, tensor in trained.items())


@pytest.mark.parametrize("content", [None, b"", b"not an archive", b"PK\x05\x06" + bytes(18)])
@pytest.mark.parametrize("name", ["detector.mar", "model.safetensors"])
def test_a_file_that_holds_no_weights_is_named_in_a_clear_error(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StageError, match=rf"cannot load the weights .*{name} of "):
        module.starting_network(SPEC, str(tmp_path / name))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    save_file({"classifier.bias": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(StageError, match="do not fit efficientnet_b0"):
        module.starting_network(SPEC, str(tmp_path / "model.safetensors"))
