"""A hook of MkDocs: README is the first page, and files outside of `docs/` that pages link to come with the site.

Every page is known by its path in the repository, where links are resolved; `place` says where a file is in the site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"^ *(`{3,})[^`]*\n.*?^ *\1|(?<=\]\()(?![a-z+]+:|#|/)(?P<target>[^)#\s]+)", re.MULTILINE | re.DOTALL)
"""A block of code, to be passed over, or the target of a relative link or picture, without its fragment."""
README, HOME = "README.md", "index.md"
DOCS, TAKEN = "docs/", "repository/"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".js": "javascript"}
AS_THEY_ARE = {".png", ".jpg", ".svg"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README as the first page, and all that pages link to in the rest of the repository."""
    root = Path(config.docs_dir).parent
    files.append(File.generated(config, HOME, content=(root / README).read_text(encoding="utf-8")))
    waiting = [(origin(file.src_uri), file.content_string) for file in files.documentation_pages()]
    while waiting:
        for target in targets(*waiting.pop()):
            if place(target).startswith(TAKEN) and place(target) not in files.src_uris and (root / target).is_file():
                files.append(_taken(config, root, target))
                waiting += [(target, (root / target).read_text(encoding="utf-8"))] if target.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, /, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to where their files are in the site."""
    del config, files
    return moved(markdown, page.file.src_uri)


def moved(markdown: str, site: str) -> str:
    """Return a page's text with its relative links as they must be at its place in the site."""
    folder = posixpath.dirname(site) or "."

    def at_its_place(link: re.Match[str]) -> str:
        target = link["target"]
        return posixpath.relpath(place(_resolved(origin(site), target)), folder) if target else link[0]

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
    if site == HOME:
        return README
    return site.removeprefix(TAKEN) if site.startswith(TAKEN) else f"{DOCS}{site}"


def _resolved(page: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def _taken(config: MkDocsConfig, root: Path, path: str) -> File:
    file, suffix = root / path, PurePosixPath(path).suffix
    if suffix in AS_THEY_ARE:
        return File.generated(config, place(path), abs_src_path=str(file))
    text = file.read_text(encoding="utf-8")
    shown = text if suffix == ".md" else f"# {path}\n\n````{LANGUAGES.get(suffix, 'text')}\n{text.rstrip()}\n````\n"
    return File.generated(config, place(path), content=f"---\nsearch: {{exclude: true}}\n---\n{shown}")
