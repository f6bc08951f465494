"""A batch: every file judged at the same time, each on its own account."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter

from starlette.datastructures import UploadFile

from gateway.activity import elapsed_ms
from gateway.errors import ApiError, UnavailableError
from gateway.schemas import BatchBody, BatchItem, Verdict

Judge = Callable[[UploadFile], Awaitable[Verdict]]
Outcome = Verdict | ApiError


async def judge_batch(uploads: list[UploadFile], judge: Judge) -> BatchBody:
    """Judge all files concurrently; results keep the files' order, and a bad file fails alone.

    Raises:
        UnavailableError: No file got a verdict, and the model server is to blame for at least one of them.
    """
    started = perf_counter()
    verdicts: list[Verdict] = []  # in the order of completion

    async def attempt(upload: UploadFile) -> Outcome:
        try:
            verdicts.append(verdict := await judge(upload))
        except ApiError as error:
            return error
        return verdict

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(upload)) for upload in uploads]
    outcomes = [task.result() for task in tasks]
    _check_available(outcomes, verdicts)
    return BatchBody(
        results=[_item(upload, outcome) for upload, outcome in zip(uploads, outcomes, strict=True)],
        total=len(outcomes),
        successful=len(verdicts),
        failed=len(outcomes) - len(verdicts),
        total_inference_time_ms=elapsed_ms(started),
        model_version=verdicts[-1].model_version if verdicts else None,
    )


def _check_available(outcomes: list[Outcome], verdicts: list[Verdict]) -> None:
    down = [outcome for outcome in outcomes if isinstance(outcome, UnavailableError)]
    if down and not verdicts:
        raise down[0]


def _item(upload: UploadFile, outcome: Outcome) -> BatchItem:
    # A client may name a charset whose decoder yields what UTF-8 cannot carry.
    filename = (upload.filename or "").encode(errors="replace").decode()
    if isinstance(outcome, ApiError):
        return BatchItem(filename=filename, error=str(outcome))
    return BatchItem(
        filename=filename,
        prediction=outcome.prediction,
        probability=outcome.probability,
        confidence=outcome.confidence,
    )
