"""Multipart forms to checked image bytes."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Final

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from gateway import errors
from gateway.images import CheckedImage, check_image, is_quick
from gateway.settings import Settings

LEAST_HELD_BYTES: Final = 256 * 1024
"""What even a small body counts for: the buffers of its connection, and its share of descriptors."""
MAX_OTHER_FIELDS: Final = 20
"""Text fields that a form may carry beside its files; they are ignored."""

_BROKEN_OFF: Final = "The closing boundary is missing."
_UNREADABLE: Final = "The multipart body cannot be read. Let your HTTP client build it, together with its Content-Type."
_FAULTS: Final = {
    "Too many fields": f"At most {MAX_OTHER_FIELDS} text fields may come beside the files. Leave out what is not used.",
    "Part exceeded": "A field that is no file is over 1 MB. "
    "Send an image as a file, with `filename` in its Content-Disposition, and leave other fields out.",
    "The Content-Disposition": "A part has no `name` in its Content-Disposition. Let your HTTP client build the body.",
    _BROKEN_OFF: "The body breaks off: the closing boundary is missing. Send it again as a whole.",
}
"""What to do about a fault, by the words that Starlette's reason begins with: it tells them by text alone."""
_SHOWN: Final = re.compile(r"[\w.\[\]/+-]{1,60}", re.ASCII)
"""Names of the client's that an answer repeats."""
EVIDENCE: Final = "evidence"
HISTOGRAM: Final = "histogram"
MODEL: Final = "model"
PARAMETER: Final = "include"


class UploadBudget:
    """The bytes of request bodies that are in memory at the same time; they count from before they are read."""

    def __init__(self, settings: Settings) -> None:
        self.left = settings.upload_budget_bytes
        # Batches leave a quarter to single images, which are smaller, so that a few of them shut out nobody.
        self._batch = settings.max_file_bytes + settings.max_form_overhead_bytes
        self._kept = settings.upload_budget_bytes // 4

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
                raise errors.UnavailableError("Too many uploads at the same time.")
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


async def read_image(upload: UploadFile, settings: Settings) -> CheckedImage:
    """A closed upload whose size and header are within the limits; raises as `check_image`, or FileTooLargeError."""
    if (upload.size or 0) > settings.max_file_bytes:
        raise file_too_large(settings)
    data = await upload.read()
    await upload.close()  # its copy of them goes
    if is_quick(data):
        return check_image(data, settings)
    # A header can be megabytes of tiny segments, so reading it stays out of the event loop.
    return await run_in_threadpool(check_image, data, settings)


def file_too_large(settings: Settings) -> errors.FileTooLargeError:
    """The answer to one file over the limit."""
    return errors.FileTooLargeError(f"Maximum file size: {_megabytes(settings.max_file_bytes)}")


def batch_too_large(settings: Settings) -> errors.BodyTooLargeError:
    """The answer to a batch over the limit."""
    return errors.BodyTooLargeError(f"Maximum batch size: {_megabytes(settings.max_batch_bytes)}")


async def _parse(request: Request, field: str, most: int) -> FormData:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        raise not_a_form(field, most, media_type)
    if not parse_options_header(request.headers["content-type"])[1].get(b"boundary"):
        raise errors.InvalidFormError(
            "The Content-Type names no boundary. Do not set it by hand: your HTTP client does."
        )
    try:
        async with aclosing(request.stream()) as stream:
            parser = _WholeFormParser(request.headers, stream, max_files=most, max_fields=MAX_OTHER_FIELDS)
            return await parser.parse()
    except (MultiPartException, UnicodeError) as error:  # a charset that the client names may fail in its own way
        reason = str(getattr(error, "message", ""))
        if reason.startswith("Too many files"):
            raise errors.TooManyFilesError(_expected(field, most)) from error
        detail = next((detail for start, detail in _FAULTS.items() if reason.startswith(start)), _UNREADABLE)
        raise errors.InvalidFormError(detail) from error


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
        raise MultiPartException(_BROKEN_OFF)


def _files(form: FormData, field: str, most: int) -> list[UploadFile]:
    values = form.getlist(field)
    if not values:
        raise missing_file(field, most, form)
    files = [value for value in values if isinstance(value, UploadFile)]
    if len(files) < len(values):
        raise errors.InvalidFormError(
            f"The field `{field}` must be a file, and came as text. "
            f"Send it with `filename` in its Content-Disposition, as `{_curl(field)}` does."
        )
    return files


def not_a_form(field: str, most: int, media_type: str = "") -> errors.InvalidFormError:
    """The answer to a body that is JSON, an image as it is, or anything else but a form."""
    got = media_type if _SHOWN.fullmatch(media_type) else "no Content-Type"
    example = f"{_expected(field, most)[:-1]}, as `{_curl(field)}` does."
    return errors.InvalidFormError(f"The request must be multipart/form-data. {example} Got: {got}")


def missing_file(field: str, most: int, names: Iterable[str]) -> errors.MissingFileError:
    """The answer to a form without the field, which may have its file in another."""
    shown = [f"`{name}`" for name in dict.fromkeys(names) if _SHOWN.fullmatch(name)][:3]
    return errors.MissingFileError(_expected(field, most) + (f" Got: {', '.join(shown)}" if shown else ""))


def _curl(field: str) -> str:
    return f'curl -F "{field}=@photo.jpg"'


def _expected(field: str, most: int) -> str:
    count = "exactly one image" if most == 1 else f"1 to {most} images"
    return f"Send {count} in the multipart field `{field}`."


def _megabytes(size: int) -> str:
    return f"{size / (1024 * 1024):g} MB"


def check_includes(request: Request, known: str = "") -> bool:
    """Whether the request asks for the extra that the route knows; raises InvalidParameterError for any other."""
    values = request.query_params.getlist(PARAMETER)
    wanted = {part.strip() for value in values for part in value.split(",")}
    if not wanted <= {known} or (wanted and not known):
        raise unknown_include(known)
    return bool(wanted)


def unknown_include(known: str) -> errors.InvalidParameterError:
    """The answer to an extra that the route does not know."""
    return errors.InvalidParameterError(f"Values of `{PARAMETER}`: {known or 'none on this route'}.")
