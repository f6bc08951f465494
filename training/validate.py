"""Stage `validate`: is the data whole, does it cross splits, and does it give its labels away?"""

import dataclasses
from collections import Counter
from typing import Any

from training.checks import findings as checks
from training.checks import leaks, page
from training.checks.pictures import Facts, inspect_all, summary
from training.data.manifest import Photo, read_rows
from training.files import Paths, StageError, refusals, write_json
from training.params import Params, parse_command_line
from training.tracking import tracked


class DataChecksFailedError(StageError):
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
    found = [
        *checks.row_findings(rows),
        *checks.integrity_findings(known, inspected),
        *checks.balance_findings(photos),
        *checks.exact_findings(photos, facts),
        *checks.near_findings(photos, facts, params.validate.near_duplicate_bits),
        *checks.leak_findings(leak_report, params.validate),
        *checks.picture_findings(photos, facts, params.model.input_size),
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
        **summary(photos, facts),
    }
    write_json(paths.data_validation, report)
    page.write(paths.data_validation.with_suffix(".html"), params.data, report, found, photos)
    errors = [f"{finding.count} {finding.check}" for finding in found if finding.severity == "error"]
    if params.validate.strict and errors:
        raise DataChecksFailedError(f"{', '.join(errors)}; see {paths.data_validation.with_suffix('.html')}")
    return report


def main() -> None:
    """Run the stage from the command line."""
    params, paths, _ = parse_command_line("validate")
    page_file = paths.data_validation.with_suffix(".html")
    with refusals("validate"), tracked(params, paths, "validate") as log:
        report = run(params, paths)
        log.metrics(_figures(report))
        log.artifact(paths.data_validation)
        log.artifact(page_file)
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
