"""A hook for MkDocs: README is the first page, linked files are added, and tables are generated from the code.

Every page is known by its path in the repository, where links are resolved; `place` says where a file is in the site.
A line `<!-- generated: NAME -->` becomes the table of that name; `python -m docs.tools.site NAME` prints it.
"""

import argparse
import posixpath
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
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
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".js": "javascript"}
AS_THEY_ARE = {".png", ".jpg", ".svg"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README as the first page, and every file of the repository that pages link to."""
    root = Path(config.docs_dir).parent
    files.append(File.generated(config, HOME, content=(root / README).read_text(encoding="utf-8")))
    waiting = [(origin(file.src_uri), file.content_string) for file in files.documentation_pages()]
    while waiting:
        for target in targets(*waiting.pop()):
            if place(target).startswith(TAKEN) and place(target) not in files.src_uris and (root / target).is_file():
                files.append(_taken(config, root, target))
                waiting += [(target, (root / target).read_text(encoding="utf-8"))] if target.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, /, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs's
    """Insert the generated tables, and point links to where their files are in the site."""
    return moved(GENERATED.sub(lambda found: TABLES[found[1]](), markdown), page.file.src_uri)


def moved(markdown: str, site: str) -> str:
    """Return a page's text with relative links as the site needs them."""

    def at_its_place(link: re.Match[str]) -> str:
        target = place(_resolved(origin(site), link["target"])) if link["target"] else None
        return posixpath.relpath(target, posixpath.dirname(site) or ".") if target else link[0]

    return LINK.sub(at_its_place, markdown)


def targets(page: str, text: str) -> Iterator[str]:
    """Return the files, by their paths in the repository, that a page of the repository links to."""
    return (_resolved(page, link["target"]) for link in LINK.finditer(text) if link["target"])


def place(path: str) -> str:
    """Return where a file of the repository is in the site; code becomes a page that shows it."""
    if path == README:
        return HOME
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    return f"{TAKEN}{path}" if PurePosixPath(path).suffix in {".md", *AS_THEY_ARE} else f"{TAKEN}{path}.md"


def origin(site: str) -> str:
    """Return the path in the repository of a page of the site."""
    return README if site == HOME else site.removeprefix(TAKEN) if site.startswith(TAKEN) else f"{DOCS}{site}"


def _resolved(page: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def _taken(config: MkDocsConfig, root: Path, path: str) -> File:
    suffix = PurePosixPath(path).suffix
    if suffix in AS_THEY_ARE:
        return File.generated(config, place(path), abs_src_path=str(root / path))
    text = (root / path).read_text(encoding="utf-8")
    shown = text if suffix == ".md" else f"# {path}\n\n````{LANGUAGES.get(suffix, 'text')}\n{text.rstrip()}\n````\n"
    return File.generated(config, place(path), content=f"---\nsearch: {{exclude: true}}\n---\n{shown}")


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
    """Return the arguments of a command of `product-photo-detector`, or of one of its subcommands."""
    commands = argparse.ArgumentParser().add_subparsers()
    add(commands)
    [parser] = commands.choices.values()
    if subcommand:
        choices = next(each.choices for each in _actions(parser) if isinstance(each.choices, Mapping))
        parser = choices[subcommand]
    return _table(("argument", "meaning"), [(f"`{_usage(each)}`", each.help or "") for each in _actions(parser)])


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [each for each in parser._actions if each.dest != "help"]  # noqa: SLF001 - argparse has no other list


def _usage(action: argparse.Action) -> str:
    value = action.metavar or "|".join(action.choices or ())
    return " ".join(filter(None, [", ".join(action.option_strings), "" if action.nargs == 0 else str(value)]))


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
