"""Stage `validate`: is the data whole, does it cross splits, and does it give its labels away?"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import ImageOps

from handler.images import BadImageError, decode
from training import files
from training.checks import findings, leaks
from training.data.manifest import LABELS, Photo, read_rows
from training.params import DataParams, Params
from training.tracking import stage

THUMBNAIL = 160
"""Pixels, long side."""
SHOWN = 24
"""Images of each class of train on the page."""
SHOWN_SPLITS = ("train", "dev")
"""Nobody should look at test before it is reported on."""


def run(params: Params, paths: files.Paths) -> dict[str, Any]:
    """Check the data, write `data_validation.json` and its page, and return the report.

    Images and rows that are broken are findings. They take no part in the later checks.

    Raises:
        StageError: No manifest, or one without our columns.
        StageError: `validate.strict` is set and a check found an error; the reports are written.
    """
    rows = [Photo(**row) for row in read_rows(params.data.root / params.data.manifest)]
    known = [photo for photo in rows if findings.is_known(photo)]
    inspected = findings.inspect_all(params.data.root, known, params.data.num_workers)
    whole = [(photo, fact) for photo, fact in zip(known, inspected, strict=True) if isinstance(fact, findings.Facts)]
    photos, facts = [photo for photo, _ in whole], [fact for _, fact in whole]
    leak_report = leaks.measure([photo for photo in photos if photo.split == "train"], params)
    found = [
        *findings.row_findings(rows),
        *findings.integrity_findings(known, inspected),
        *findings.balance_findings(photos),
        *findings.exact_findings(photos, facts),
        *findings.near_findings(photos, facts, params.validate.near_duplicate_bits),
        *findings.leak_findings(leak_report, params.validate),
        *findings.picture_findings(photos, facts, params.model.input_size),
    ]
    found.sort(key=lambda finding: ("error", "warning", "info").index(finding.severity))
    severities = Counter(finding.severity for finding in found)
    report = {
        "pictures": len(rows),
        "usable": len(photos),
        "errors": severities["error"],
        "warnings": severities["warning"],
        "findings": [dataclasses.asdict(finding) for finding in found],
        "leaks": dataclasses.asdict(leak_report),
        "limits": dataclasses.asdict(params.validate),
        **findings.summary(photos, facts),
    }
    files.write_json(paths.data_validation, report)
    write_page(paths.data_validation.with_suffix(".html"), params.data, report, found, photos)
    errors = [f"{finding.count} {finding.check}" for finding in found if finding.severity == "error"]
    if params.validate.strict and errors:
        raise files.StageError(f"{', '.join(errors)}; see {paths.data_validation.with_suffix('.html')}")
    return report


def write_page(
    file: Path, data: DataParams, report: Mapping[str, Any], found: Sequence[findings.Finding], photos: Sequence[Photo]
) -> None:
    """Write the page, self-contained; `photos` are those that decode."""
    notes = {photo.path: f"{photo.label}, {photo.split}, {photo.source}" for photo in photos}
    files.write(
        file,
        report=report,
        findings=[(finding, [_shown(data.root, paths, notes) for paths in finding.examples]) for finding in found],
        sheets=[(title, _shown(data.root, paths, notes)) for title, paths in _sheets(photos, data.split_seed)],
    )


def _sheets(photos: Sequence[Photo], seed: int) -> Iterator[tuple[str, list[str]]]:
    for split in SHOWN_SPLITS:
        some = leaks.sample([photo for photo in photos if photo.split == split], len(LABELS) * SHOWN, seed)
        for label in LABELS:
            if mine := [photo.path for photo in some if photo.label == label]:
                yield f"{split}: {label}", mine


def _shown(root: Path, paths: Sequence[str], notes: Mapping[str, str]) -> list[dict[str, str | None]]:
    """Return images as the page shows them, without a thumbnail where they do not decode."""
    return [{"thumbnail": _thumbnail(root / path), "path": path, "note": notes.get(path, "")} for path in paths]


def _thumbnail(file: Path) -> str | None:
    try:
        picture = decode(file.read_bytes())
    except (OSError, BadImageError):
        return None
    return files.jpeg_uri(ImageOps.contain(picture, (THUMBNAIL, THUMBNAIL)), quality=75)


def main() -> None:
    """Run the stage from the command line."""
    with stage("validate") as (params, paths, log):
        report, page_file = run(params, paths), paths.data_validation.with_suffix(".html")
        log.metrics(_figures(report))
        log.artifact(paths.data_validation)
        log.artifact(page_file)
    print(f"{report['pictures']} images, {report['errors']} errors, {report['warnings']} warnings; see {page_file}")


def _figures(report: dict[str, Any]) -> dict[str, float]:
    figures = {f"data/{name}": float(report[name]) for name in ("pictures", "usable", "errors", "warnings")}
    measured = {name: found for name, found in report["leaks"].items() if isinstance(found, dict)}
    return figures | {
        f"leaks/{name}/{which}": auc["auc"] for name, found in measured.items() for which, auc in found.items() if auc
    }


if __name__ == "__main__":
    main()
