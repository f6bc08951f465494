"""Stage `validate`: is the data whole, does it cross splits, and does it give its labels away?"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from training.checks import findings, leaks, page
from training.checks import findings as checks
from training.checks.findings import Finding, leak_findings
from training.checks.leaks import LeakReport
from training.checks.pictures import Broken, Facts, inspect_all, summary
from training.data.manifest import InvalidDataError, Photo, read_rows
from training.files import Paths, write_json
from training.params import Params, parse_command_line
from training.tracking import tracked


class DataChecksFailedError(RuntimeError):
    """Checks found errors in the data and `validate.strict` is set; the message lists them."""


def run(params: Params, paths: Paths) -> dict[str, Any]:
    """Check the data, write `data_validation.json` and its page, and return the report.

    Images and rows that are broken are findings. They take no part in the later checks.

    Raises:
        InvalidDataError: No manifest, or one without our columns.
        DataChecksFailedError: `validate.strict` is set and a check found an error; the reports are written.
    """
    rows = [Photo(**row) for row in read_rows(params.data.root / params.data.manifest)]
    known = [photo for photo in rows if checks.is_known(photo)]
    inspected = inspect_all(params.data.root, known, params.data.num_workers)
    whole = [(photo, fact) for photo, fact in zip(known, inspected, strict=True) if isinstance(fact, Facts)]
    photos, facts = [photo for photo, _ in whole], [fact for _, fact in whole]
    leak_report = leaks.measure([photo for photo in photos if photo.split == "train"], params)
    found = [*_row_and_picture_findings(rows, known, inspected), *_findings(photos, facts, leak_report, params)]
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
        **summary(photos, facts),
    }
    write_json(paths.data_validation, report)
    page.write(paths.data_validation.with_suffix(".html"), params.data, report, found, photos)
    if params.validate.strict:
        _refuse(found, paths)
    return report


def _row_and_picture_findings(
    rows: Sequence[Photo], known: Sequence[Photo], inspected: Sequence[Facts | Broken]
) -> Iterator[Finding]:
    yield from checks.row_findings(rows)
    yield from checks.integrity_findings(known, inspected)


def _findings(
    photos: Sequence[Photo], facts: Sequence[Facts], leak_report: LeakReport, params: Params
) -> Iterator[Finding]:
    yield from checks.balance_findings(photos)
    yield from findings.exact_findings(photos, facts)
    yield from findings.near_findings(photos, facts, params.validate.near_duplicate_bits)
    yield from leak_findings(leak_report, params.validate)
    yield from checks.picture_findings(photos, facts, params.model.input_size)


def _refuse(found: Sequence[Finding], paths: Paths) -> None:
    errors = [f"{finding.count} {finding.check}" for finding in found if finding.severity == "error"]
    if errors:
        raise DataChecksFailedError(f"{', '.join(errors)}; see {paths.data_validation.with_suffix('.html')}")


def main() -> None:
    """Run the stage from the command line."""
    params, paths, _ = parse_command_line("validate")
    page_file = paths.data_validation.with_suffix(".html")
    try:
        with tracked(params, paths, "validate") as log:
            report = run(params, paths)
            log.metrics(_figures(report))
            log.artifact(paths.data_validation)
            log.artifact(page_file)
    except (InvalidDataError, DataChecksFailedError) as error:
        raise SystemExit(f"validate: {error}") from error
    print(f"{report['pictures']} pictures, {report['errors']} errors, {report['warnings']} warnings; see {page_file}")


def _figures(report: dict[str, Any]) -> dict[str, float]:
    figures = {f"data/{name}": float(report[name]) for name in ("pictures", "usable", "errors", "warnings")}
    for name in page.LEAKS:
        for which, auc in report["leaks"][name].items():
            if auc is not None:
                figures[f"leaks/{name}/{which}"] = auc["auc"]
    return figures


if __name__ == "__main__":
    main()
