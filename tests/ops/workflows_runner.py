"""As much of GitHub's runner as the workflows use: expressions, and the `run` steps of a job in their order."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

WORKFLOWS = Path(".github/workflows")
_TOKEN = re.compile(r"'[^']*'|&&|\|\||[A-Za-z_][\w.-]*(?P<call>(?=\())?")
_SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")


def workflow(name: str) -> dict[str, Any]:
    """Return a workflow; its triggers are under `on`, which YAML 1.1 takes for a truth value."""
    read: dict[Any, Any] = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text(encoding="utf-8"))
    return {"on" if key is True else str(key): value for key, value in read.items()}


def evaluate(expression: str, contexts: Mapping[str, Any], *, failed: bool = False) -> Any:  # noqa: ANN401 - an expression's value
    """Return what an expression of GitHub's is worth; what a context does not have is empty."""
    functions: dict[str, Callable[..., Any]] = {
        "always": lambda: True,
        "cancelled": lambda: False,
        "failure": lambda: failed,
        "success": lambda: not failed,
        "format": lambda text, *values: text.format(*values),
    }

    def value(path: str) -> Any:  # noqa: ANN401 - any JSON
        found: Any = contexts
        for name in path.split("."):
            found = found.get(name, "") if isinstance(found, Mapping) else ""
        return found

    def python(token: re.Match[str]) -> str:
        text = token[0]
        if text.startswith("'"):
            return text
        if text in {"&&", "||"}:
            return " and " if text == "&&" else " or "
        return f"functions[{text!r}]" if token["call"] is not None else f"value({text!r})"

    translated = _TOKEN.sub(python, " ".join(expression.split()))
    return eval(translated, {"functions": functions, "value": value})  # noqa: S307 - this project's own expressions


def filled(text: str, contexts: Mapping[str, Any]) -> str:
    """Return a text with its expressions' values in it."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(evaluate(found[1], contexts)), text)


@dataclass
class Run:
    """What came of a job: the steps that ran, by name, and whether one failed."""

    ran: list[str] = field(default_factory=list)
    failed: bool = False
    said: str = ""


def run_job(job: Mapping[str, Any], contexts: Mapping[str, Any], environment: Mapping[str, str], outputs: Path) -> Run:
    """Run the `run` steps of a job as the runner does; of actions it is noted that they would have run."""
    run, steps = Run(), dict(contexts.get("steps", {}))
    known = {**contexts, "steps": steps}
    shared = {name: filled(str(value), known) for name, value in job.get("env", {}).items()}
    for step in job["steps"]:
        condition = step.get("if", "success()")
        if not re.search(r"\b(always|cancelled|failure)\(", condition):
            condition = f"success() && ({condition})"
        if not evaluate(condition, known, failed=run.failed):
            continue
        run.ran.append(step["name"])
        if "uses" in step:
            continue
        given = {name: filled(str(value), known) for name, value in step.get("env", {}).items()}
        outputs.write_text("")
        done = subprocess.run(
            [*_SHELL, step["run"]],
            env={**environment, **shared, **given, "GITHUB_OUTPUT": str(outputs)},
            capture_output=True,
            text=True,
            check=False,
        )
        run.said += done.stdout + done.stderr
        run.failed = run.failed or done.returncode != 0
        if "id" in step:
            steps[step["id"]] = {"outputs": dict(line.split("=", 1) for line in outputs.read_text().splitlines())}
    return run
