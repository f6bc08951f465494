"""An archive's handler in its own process, without TorchServe, predicting an image on command.

`python -P benchmarks/inprocess.py FOLDER PHOTO THREADS`, with FOLDER, the unpacked archive, in PYTHONPATH. Once the
first prediction it prints a line; for every line `BATCH SECONDS` that it then reads it predicts so many copies of it
at a time for so long, and prints how long each batch took, in ms, as JSON.
"""

import importlib
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import yaml


class RefusedError(RuntimeError):
    """The handler refused the image, so its time is meaningless."""


class Context:
    """What a handler sees of TorchServe's context: predictions, no explanations."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.manifest: dict[str, Any] = json.loads((folder / "MAR-INF/MANIFEST.json").read_text(encoding="utf-8"))
        config = yaml.safe_load((folder / self.manifest["model"]["configFile"]).read_text(encoding="utf-8"))
        self.model_yaml_config = config | {"threads": threads}
        self.system_properties = {"model_dir": str(folder), "gpu_id": None}

    def get_request_header(self, _index: int, _name: str) -> None:
        """No header, so no explanation."""

    def set_response_content_type(self, _index: int, _value: str) -> None:
        """Nobody reads it."""

    def set_response_status(self, code: int, phrase: str = "", _index: int = 0) -> None:
        """A status is only set for an image that is refused."""
        raise RefusedError(f"{code} {phrase}")


def load(context: Context) -> Any:  # noqa: ANN401 - the archive's class, known only once it is imported
    """Return the archive's handler, initialized as TorchServe does it."""
    module = importlib.import_module(Path(context.manifest["model"]["handler"]).stem)
    (entry,) = [kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == module.__name__]
    handler = entry()
    handler.initialize(context)
    return handler


def main() -> None:
    """Predict on command until the input ends."""
    folder, photo, threads = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3])
    context = Context(folder, threads)
    handler = load(context)
    handler.handle([{"body": bytearray(photo)}], context)
    print("ready", flush=True)
    for line in sys.stdin:
        batch, seconds = line.split()
        requests = [{"body": bytearray(photo)} for _ in range(int(batch))]
        latencies, until = list[float](), perf_counter() + float(seconds)
        while not latencies or perf_counter() < until:
            started = perf_counter()
            handler.handle(requests, context)
            latencies.append((perf_counter() - started) * 1000)
        print(json.dumps(latencies), flush=True)


if __name__ == "__main__":
    main()
