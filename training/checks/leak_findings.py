"""Findings from the leak report: what the limits say about it."""

from __future__ import annotations

from collections.abc import Iterator

from training.checks.findings import Finding, Severity
from training.checks.leaks import Leak, LeakReport
from training.params import ValidateParams


def leak_findings(report: LeakReport, limits: ValidateParams) -> Iterator[Finding]:
    """Hold the figures after the training pipeline against the limits; those of the files are worth knowing.

    Figures of unseen sources count. Where train has too few to hold any out, a leak on seen ones may be a trait of the
    class, so that it is a warning only.
    """
    metadata, statistics = report.metadata_after_pipeline, report.statistics_after_pipeline
    yield from _judged("metadata_leak", "file metadata", metadata, limits.max_metadata_auc)
    yield from _judged("statistics_leak", "pixel statistics", statistics, limits.max_statistics_auc)
    for check, what, leak in (
        ("metadata_of_files", "file metadata tell", report.metadata_of_files),
        ("scale_of_files", "stored size and scale factor tell", report.scale_of_files),
    ):
        if leak.across_sources:
            where = f"before the training pipeline, which is to take it away, {what} the label on unseen sources"
            yield from _over(check, "info", where, leak.across_sources.auc, limits.max_metadata_auc)


def _judged(check: str, what: str, leak: Leak, limit: float) -> Iterator[Finding]:
    what = f"after the training pipeline {what} tell"
    if leak.across_sources:
        yield from _over(check, "error", f"{what} the label on unseen sources", leak.across_sources.auc, limit)
        return
    if leak.within_sources:
        yield from _over(check, "warning", f"{what} the label on seen sources", leak.within_sources.auc, limit)
    message = f"train has too few sources of a class to say whether {what} the label of unseen ones"
    yield Finding(f"{check}_unmeasured", "warning", message, 1)


def _over(check: str, severity: Severity, what: str, auc: float, limit: float) -> Iterator[Finding]:
    if auc > limit:
        yield Finding(check, severity, f"{what}: AUC {auc:.3f}, at most {limit:g} allowed", 1)
