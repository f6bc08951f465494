"""Smoke-test a deployed API: `python -m deploy.smoke_test URL PHOTO` checks its health and predicts an image."""

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from deploy.layout import StackError, is_loopback, reporting

HEALTH = "/health"
"""Answers 200 once a real inference can be served. Cloud Run may keep paths that end in z for itself."""
START_S = 120
ANSWER_S = 60
POLL_S = 2


@reporting("smoke test", OSError, ImportError, httpx.InvalidURL, httpx.HTTPError)  # ImportError: SOCKS needs a package
def main() -> None:
    """Run from the command line; keys come from the environment, so that no process list shows them."""
    parser = argparse.ArgumentParser(prog="python -m deploy.smoke_test", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--start", type=float, default=START_S, metavar="S", help="seconds to wait for it to start")
    arguments = parser.parse_args()
    with httpx.Client(
        base_url=arguments.url,
        headers=credentials(os.environ),
        timeout=ANSWER_S,
        trust_env=not is_loopback(httpx.URL(arguments.url).host),  # proxies are for addresses elsewhere
    ) as api:
        print(run(api, arguments.photo, arguments.start))


def credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that the gateway and, before it, Cloud Run want; a key that is not set sends none."""
    key, token = environment.get("DETECTOR_API_KEY"), environment.get("CLOUD_RUN_TOKEN")
    return ({"X-API-Key": key} if key else {}) | ({"X-Serverless-Authorization": f"Bearer {token}"} if token else {})


def run(api: httpx.Client, photo: Path, start_s: float) -> str:
    """Wait until it is healthy, predict the image, and report the outcome.

    Raises:
        StackError: It is not well in time, refuses the image, or answers without a prediction.
    """
    give_up = time.monotonic() + start_s
    while (trouble := _trouble(api)) is not None:
        if time.monotonic() > give_up:
            raise StackError(trouble)
        time.sleep(POLL_S)
    answer = api.post("/predict", files={"file": (photo.name, photo.read_bytes())})
    if answer.status_code != httpx.codes.OK:
        raise StackError(f"/predict answered {answer.status_code}: {answer.text[:200]}")
    try:
        said = answer.json()
        label, probability, version = said["prediction"], float(said["probability"]), said["model_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(f"/predict answered without a prediction: {answer.text[:200]}") from error
    return f"{photo.name}: {label}, probability {probability:.4f}, by model {version}"


def _trouble(api: httpx.Client) -> str | None:
    try:
        answer = api.get(HEALTH)
    except httpx.TransportError as error:
        return f"{HEALTH} did not answer ({type(error).__name__})"
    return None if answer.status_code == httpx.codes.OK else f"{HEALTH} answered {answer.status_code}"


if __name__ == "__main__":
    main()
