"""Multipart forms to checked image bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from gateway.errors import (
    BodyTooLargeError,
    FileTooLargeError,
    InvalidFormError,
    MissingFileError,
    TooManyFilesError,
    UnavailableError,
)
from gateway.images.reader import check_image, is_quick
from gateway.settings import Settings

LEAST_HELD_BYTES: Final = 256 * 1024
"""What even a small body counts for: the buffers of its connection, and its share of descriptors."""
MAX_OTHER_FIELDS: Final = 20
"""Text fields that a form may carry beside its files; they are ignored."""


class UploadBudget:
    """The bytes of request bodies that are in memory at the same time; they count from before they are read."""

    def __init__(self, settings: Settings) -> None:
        self.left = settings.upload_budget_bytes
        # Batches leave a quarter to single images, which are smaller, so that a few of them shut out nobody.
        self._batch = settings.max_file_bytes + settings.max_form_overhead_bytes
        self._kept = settings.upload_budget_bytes // 4
        self._retry_after_s = settings.retry_after_s

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], None]]:
        """Hold bytes of the budget until the block ends: what is called with the size of the body so far.

        Raises:
            UnavailableError: From that call; the budget is used up.
        """
        held = 0

        def grow(size: int) -> None:
            nonlocal held
            more = max(size, LEAST_HELD_BYTES) - held
            if more <= 0:
                return
            if self.left - more < (self._kept if size > self._batch else 0):
                raise UnavailableError("Too many uploads at the same time.", self._retry_after_s)
            self.left -= more
            held += more

        try:
            yield grow
        finally:
            self.left += held


@asynccontextmanager
async def uploaded(request: Request, field: str, most: int) -> AsyncIterator[list[UploadFile]]:
    """The 1 to `most` files of a form field, in memory; they are gone with the block.

    Raises:
        InvalidFormError: Not multipart, malformed, or text where a file should be.
        MissingFileError: Nothing in the field.
        TooManyFilesError: More than `most` files.
    """
    form = await _parse(request, field, most)
    try:
        yield _files(form, field, most)
    finally:
        await form.close()


async def read_image(upload: UploadFile, settings: Settings) -> bytes:
    """An upload's bytes, unchanged, once its size and header are within the limits; the upload is closed.

    Raises:
        ApiError: One of those of `check_image`, or `FileTooLargeError`.
    """
    if (upload.size or 0) > settings.max_file_bytes:
        raise file_too_large(settings)
    data = await upload.read()
    await upload.close()  # its copy of them goes
    if is_quick(data):
        check_image(data, settings.image_limits())
    else:  # a header can be megabytes of tiny segments, so reading it stays out of the event loop
        await run_in_threadpool(check_image, data, settings.image_limits())
    return data


def check_total(uploads: list[UploadFile], settings: Settings) -> None:
    """Refuse a batch whose files together are over the limit."""
    if sum(upload.size or 0 for upload in uploads) > settings.max_batch_bytes:
        raise batch_too_large(settings)


def file_too_large(settings: Settings) -> FileTooLargeError:
    """The answer to one file over the limit."""
    return FileTooLargeError(f"Maximum file size: {_megabytes(settings.max_file_bytes)}")


def batch_too_large(settings: Settings) -> BodyTooLargeError:
    """The answer to a batch over the limit."""
    return BodyTooLargeError(f"Maximum batch size: {_megabytes(settings.max_batch_bytes)}")


async def _parse(request: Request, field: str, most: int) -> FormData:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        raise InvalidFormError("The request must be multipart/form-data.")
    try:
        async with aclosing(request.stream()) as stream:
            parser = _WholeFormParser(request.headers, stream, max_files=most, max_fields=MAX_OTHER_FIELDS)
            return await parser.parse()
    except (MultiPartException, UnicodeError) as error:  # a charset that the client names may fail in its own way
        # Starlette tells its reasons by text alone.
        if str(getattr(error, "message", "")).startswith("Too many files"):
            raise TooManyFilesError(_expected(field, most)) from error
        raise InvalidFormError("The multipart body cannot be read.") from error


class _WholeFormParser(MultiPartParser):
    """Starlette's parser, which would pass over a part that breaks off, and write what is large to a disk."""

    spool_max_size = 0  # none: all stays in memory, where `UploadBudget` bounds it
    _ended = False

    def on_end(self) -> None:
        self._ended = True

    async def parse(self) -> FormData:
        form = await super().parse()
        if self._ended:
            return form
        for file in self._files_to_close_on_error:
            file.close()
        raise MultiPartException("The closing boundary is missing.")


def _files(form: FormData, field: str, most: int) -> list[UploadFile]:
    values = form.getlist(field)
    if not values:
        raise MissingFileError(_expected(field, most))
    files = [value for value in values if isinstance(value, UploadFile)]
    if len(files) < len(values):
        raise InvalidFormError(f"The field `{field}` must be a file.")
    return files


def _expected(field: str, most: int) -> str:
    count = "exactly one image" if most == 1 else f"1 to {most} images"
    return f"Send {count} in the multipart field `{field}`."


def _megabytes(size: int) -> str:
    return f"{size / (1024 * 1024):g} MB"
