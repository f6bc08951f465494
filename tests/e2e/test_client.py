"""The Python client against the real stack, and every program in its documentation."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from deploy.layout import ROOT
from deploy.local.stack import LocalStack
from gateway.client import Client, RequestRefusedError, Verdict

PROGRAM = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def client(stack: LocalStack) -> Iterator[Client]:
    with Client(stack.gateway_url) as opened:
        yield opened


def test_every_method_reads_what_the_real_gateway_answers(client: Client, coffee: Path) -> None:
    verdict = client.predict(coffee)
    explanation = client.explain(coffee.read_bytes(), evidence=True)
    batch = client.predict_batch([coffee, io.BytesIO(coffee.read_bytes()[:1000])])
    assert (explanation.prediction, explanation.probability) == (verdict.prediction, verdict.probability)
    assert explanation.evidence == ()
    with Image.open(io.BytesIO(explanation.heatmap)) as heatmap:
        assert heatmap.size == (512, 341)
    assert (batch.total, batch.successful, batch.failed) == (2, 1, 1)
    assert isinstance(batch.results[0], Verdict)
    assert batch.results[0].probability == verdict.probability
    health, drift = client.health(), client.drift(histogram=True)
    assert (health.status, health.model_version) == ("healthy", verdict.model_version)
    assert (client.ready(), client.alive(), client.about().name) == (True, True, "ai-product-photo-detector")
    assert drift.histogram is not None
    assert len(drift.histogram.edges) == 11
    with pytest.raises(RequestRefusedError) as no_shadow:
        client.compare(coffee)
    assert no_shadow.value.code == "no_shadow_version"


@pytest.mark.parametrize("number", range(4))
def test_each_program_of_the_documentation_runs(stack: LocalStack, coffee: Path, tmp_path: Path, number: int) -> None:
    programs = PROGRAM.findall((ROOT / "docs" / "client.md").read_text(encoding="utf-8"))
    assert len(programs) == 4
    (tmp_path / "listings").mkdir()
    for name in ("photo.jpg", "another.jpg", "listings/one.jpg"):
        (tmp_path / name).write_bytes(coffee.read_bytes())
    (tmp_path / "listings" / "two.jpg").write_bytes(b"broken")
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    program = programs[number].replace("Client()", f'Client("{stack.gateway_url}")')
    program = program.replace("http://127.0.0.1:8080", stack.gateway_url)
    command = [sys.executable, "-W", "error", "-c", f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{program}"]
    run = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    expected = (
        r"(real|ai_generated) 0\.\d+ (low|medium|high) \S+\n",
        r"listings/one.jpg (real|ai_generated) 0\.\d+\nlistings/two.jpg has no prediction: The photo cannot be .*\n",
        r"(real|ai_generated)\nVerdict\(.*\)\nVerdict\(.*\)\n",
        r"choose another photo: Supported formats: .*\n",
    )
    assert re.fullmatch(expected[number], run.stdout)
