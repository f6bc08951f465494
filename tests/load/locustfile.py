"""Locust: clients who mostly want a verdict, sometimes an explanation or a batch; `make load-test` runs it."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from locust import HttpUser, between, events, task

PREDICTION = {"prediction", "probability", "confidence", "inference_time_ms", "model_version"}
BATCH_FILES = 10
File = tuple[str, bytes]
Answer = dict[str, object]


@events.init_command_line_parser.add_listener
def options(parser: ArgumentParser) -> None:
    """Add the photo and the API key to Locust's own options."""
    parser.add_argument("--photo", default="photo.jpg", env_var="LOAD_PHOTO", help="what every client sends")
    parser.add_argument("--api-key", default="", env_var="LOAD_API_KEY", is_secret=True, help="sent as X-API-Key")


class Client(HttpUser):
    """Someone who sends photos, with a short look at every answer."""

    wait_time = between(0.1, 0.5)

    def on_start(self) -> None:
        """Take photo and key from the command line."""
        chosen = self.environment.parsed_options
        photo = Path(chosen.photo)
        self.file = (photo.name, photo.read_bytes())
        self.client.headers.update({"X-API-Key": chosen.api_key} if chosen.api_key else {})

    @task(20)
    def predict(self) -> None:
        """Ask for a verdict."""
        self.ask("/predict", [("file", self.file)], lambda answer: set(answer) == PREDICTION)

    @task(3)
    def explain(self) -> None:
        """Ask for a verdict with its heat map."""
        fields = PREDICTION | {"heatmap_base64"}
        self.ask("/predict/explain", [("file", self.file)], lambda answer: set(answer) == fields)

    @task(1)
    def batch(self) -> None:
        """Ask for ten verdicts at once."""
        files = [("files", self.file)] * BATCH_FILES
        self.ask("/predict/batch", files, lambda answer: answer["successful"] == BATCH_FILES)

    @task(2)
    def health(self) -> None:
        """Probe as an orchestrator does."""
        self.client.get("/healthz")

    def ask(self, path: str, files: list[tuple[str, File]], as_documented: Callable[[Answer], bool]) -> None:
        """Post files; besides a status of 400 and more, an answer that is not as documented is a failure."""
        with self.client.post(path, files=files, catch_response=True) as response:
            if response.ok and not as_documented(response.json()):
                response.failure("not as documented")
