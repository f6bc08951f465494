"""A hook for MkDocs: README is the first page, files from outside `docs/` are added, and tables come from the code.

Every page is known by its path in the repository, where links are resolved; `place` says where a file is in the site.
A line `<!-- generated: NAME -->` becomes the table of that name; `python -m docs.tools.site NAME` prints it.
"""

import argparse
import posixpath
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from starlette.exceptions import HTTPException

from gateway.command import options
from gateway.errors import ApiError, as_api_error
from gateway.metrics import Metrics
from gateway.settings import Settings, variable

LINK = re.compile(r"^ *(`{3,})[^`]*\n.*?^ *\1|(?<=\]\()(?![a-z+]+:|#|/)(?P<target>[^)#\s]+)", re.MULTILINE | re.DOTALL)
"""A code block, which is skipped, or the target of a relative link or image, without its fragment."""
GENERATED = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)
README, HOME = "README.md", "index.md"
ROOT = Path(__file__).parents[2]
DOCS, TAKEN = "docs/", "repository/"
SHOWN = (
    *(README, "SECURITY.md", "model_store/MODEL_CARD.md", "reports/figures/**/*.png"),
    *("dvc.yaml", "params.yaml", "training/presets/*.yaml"),
)
"""What pages may link to beside each other; a strict build finds a link to anything else."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README as the first page, and the files of the repository that pages may link to."""
    root = Path(config.docs_dir).parent
    for file in sorted(found for pattern in SHOWN for found in root.glob(pattern)):
        path = place(file.relative_to(root).as_posix())
        files.append(File.generated(config, path, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, /, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs's
    """Insert the generated tables, and point links to where their files are in the site."""
    return moved(GENERATED.sub(lambda found: TABLES[found[1]](), markdown), page.file.src_uri)


def moved(markdown: str, site: str) -> str:
    """Return a page's text with relative links as the site needs them."""

    def at_its_place(link: re.Match[str]) -> str:
        if not link["target"]:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin(site)), link["target"]))
        return posixpath.relpath(place(path), posixpath.dirname(site) or ".")

    return LINK.sub(at_its_place, markdown)


def place(path: str) -> str:
    """Return where a file of the repository is in the site."""
    if path == README:
        return HOME
    return path.removeprefix(DOCS) if path.startswith(DOCS) else f"{TAKEN}{path}"


def origin(site: str) -> str:
    """Return the path in the repository of a page of the site."""
    return README if site == HOME else site.removeprefix(TAKEN) if site.startswith(TAKEN) else f"{DOCS}{site}"


def settings() -> str:
    """Return the gateway's environment variables with their defaults."""
    fields = Settings.model_fields.items()
    rows = [(f"`{variable(name)}`", _default(field), field.description or "") for name, field in fields]
    return _table(("variable", "default", "meaning"), rows)


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr) or value is None:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def metrics() -> str:
    """Return the metrics that the gateway exports."""
    collectors = Metrics("0").registry._collector_to_names  # noqa: SLF001 - only here does it keep the names of labels
    rows = [
        (
            f"`{family.name}{'_total' if family.type == 'counter' else ''}`",
            family.type,
            ", ".join(f"`{label}`" for label in getattr(collector, "_labelnames", ())),
            family.documentation,
        )
        for collector in collectors
        for family in collector.collect()
    ]
    return _table(("metric", "type", "labels", "meaning"), rows)


def errors() -> str:
    """Return every error of the API."""
    own = [(kind.status, kind.code, kind.title, kind.__doc__ or "") for kind in _kinds(ApiError)]
    others = [as_api_error(HTTPException(status)) for status in (400, 404, 405)]
    found = sorted([*own, *((error.status, error.code, error.title, error.detail) for error in others)])
    rows = [(str(status), f"`{code}`", title, " ".join(when.split())) for status, code, title, when in found]
    return _table(("status", "code", "`error`", "when"), rows)


def _kinds(kind: type[ApiError]) -> Iterator[type[ApiError]]:
    if not kind.__name__.startswith("_"):
        yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)


def alerts(*files: str) -> str:
    """Return the alerts of files of Prometheus's rules, in their order."""
    groups = [group for file in files for group in yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["groups"]]
    rows = [
        (
            f"`{rule['alert']}`",
            rule["labels"]["severity"],
            rule.get("for", "at once"),
            rule["annotations"]["summary"],
            f"[runbook]({rule['annotations']['runbook'].removeprefix(DOCS)})",
        )
        for group in groups
        for rule in group["rules"]
    ]
    return _table(("alert", "severity", "after", "meaning", "what to do"), rows)


def arguments(add: Callable[[Any], None], subcommand: str | None = None) -> str:
    """Return the help of a command of `product-photo-detector`, or of one of its subcommands, without its examples."""
    commands = argparse.ArgumentParser(prog="product-photo-detector").add_subparsers()
    add(commands)
    [parser] = commands.choices.values()
    if subcommand:
        actions = parser._actions  # noqa: SLF001 - argparse has no other list
        parser = next(each.choices for each in actions if isinstance(each.choices, Mapping))[subcommand]
    parser.epilog = None
    return f"```text\n{parser.format_help()}```"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "metrics": metrics,
    "errors": errors,
    "alerts": lambda: alerts("docker/prometheus/rules/service.yml", "docker/prometheus/rules/model.yml"),
    "cloud-alerts": lambda: alerts("deploy/terraform/modules/monitoring/alerts.yaml"),
    "check": lambda: arguments(options.add_check),
    "keys-new": lambda: arguments(options.add_keys, "new"),
}

if __name__ == "__main__":
    print(TABLES[sys.argv[1]]())
