"""What becomes of the data: one statement, as JSON and as a page."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final
from urllib.request import parse_http_list

from python_multipart.multipart import parse_options_header

from gateway.schemas import PrivacyBody, Retention
from gateway.services import NAME
from gateway.settings import Settings

SUMMARY: Final = (
    "Images are judged and forgotten: they are neither stored, nor used for training, nor passed on to third parties."
)
PROCESSED: Final = [
    "The uploaded image, with whatever metadata the file carries, to judge whether it is AI-generated.",
    "The file names of a batch, to name its results in the answer.",
    "The API key, compared with the configured keys by its hash.",
    "The client's network address, to count requests where there is no API key.",
]
LOGGED: Final = [
    "Request id, trace id, time, method, path (without the query), status, error code and duration.",
    "The short id of the API key: its name in the file of keys, or the first digits of its hash.",
    "The verdict: prediction, probability, confidence, model version and timing; of a batch, its counts.",
]
NOT_LOGGED: Final = [
    "Image content, pixels or metadata.",
    "File names.",
    "API keys.",
    "Heat maps.",
    "Query strings and bodies.",
]
_RETENTION: Final = [
    Retention(data="Images", kept="While the request lasts, in memory; never on a disk."),
    Retention(data="Heat maps", kept="While the request lasts; the only copy is in the answer."),
    Retention(data="Request counts by API key or network address", kept="At most a few minutes."),
    Retention(data="Log lines", kept="Written to standard error alone; how long is for the operator's log system."),
]
RECIPIENTS: Final = ["The model server, which belongs to this service and stores nothing."]
COLLECTOR: Final = (
    "The operator's trace collector: of every request the trace id, time, method, route, status, error code and "
    "duration; nothing of images, file names, API keys or network addresses."
)
_QUALITY: Final = re.compile(rb"0(\.\d{0,3})?|1(\.0{0,3})?")


def statement(settings: Settings, version: str) -> PrivacyBody:
    """The statement of this deployment."""
    return PrivacyBody(
        service=NAME,
        version=version,
        contact=settings.privacy_contact or None,
        summary=SUMMARY,
        processed=PROCESSED,
        logged=LOGGED,
        not_logged=NOT_LOGGED,
        retention=[*_RETENTION, *_shadow_sample(settings), _drift_window(settings)],
        recipients=[*RECIPIENTS, *_collector(settings)],
    )


def _shadow_sample(settings: Settings) -> list[Retention]:
    if not settings.shadow_version:
        return []
    kept = f"At most {settings.predict_timeout_s:g} s after the answer, in memory, for a second version of the model."
    return [Retention(data="A sample of the images", kept=kept)]


def _collector(settings: Settings) -> list[str]:
    return [COLLECTOR] if settings.otlp_endpoint else []


def _drift_window(settings: Settings) -> Retention:
    data = "Verdicts, image sizes, brightness, sharpness and compression, for drift detection"
    newest = f"The newest {settings.drift_window:,}, as numbers without anything that leads back to a request."
    return Retention(data=data, kept=newest)


def as_html(body: PrivacyBody) -> str:
    """The same statement as a page."""
    contact = f"<h2>Contact</h2><p>{escape(body.contact)}</p>" if body.contact else ""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<title>Privacy</title><link rel="stylesheet" href="docs/page.css"></head><body>'
        f"<h1>Privacy</h1><p>{escape(body.summary)}</p>"
        f"{_section('What is processed', body.processed)}"
        f"{_section('What is logged', body.logged)}"
        f"{_section('What is never logged', body.not_logged)}"
        f"{_section('How long it is kept', (f'{item.data}: {item.kept}' for item in body.retention))}"
        f"{_section('Who receives it', body.recipients)}"
        f"{contact}<footer>{escape(body.service)} {escape(body.version)}</footer></body></html>"
    )


def _section(title: str, entries: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(entry)}</li>" for entry in entries)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>"


def preferred(accept: str, offers: Sequence[str]) -> str:
    """The offered media type that is liked best; the first when none is preferred or none is accepted."""
    ranges = [_parse(entry) for entry in parse_http_list(accept)]
    return max(offers, key=lambda offer: _liking(offer, ranges))  # the first of equals


def _parse(entry: str) -> tuple[str, float]:
    name, options = parse_options_header(entry)
    quality = options.get(b"q", b"1")
    return name.decode("latin-1"), float(quality) if _QUALITY.fullmatch(quality) else 0.0


def _liking(offer: str, ranges: list[tuple[str, float]]) -> tuple[float, int]:
    # RFC 9110: the most specific range that matches decides.
    matching = ("*/*", offer.partition("/")[0] + "/*", offer)
    found = [(matching.index(name), quality) for name, quality in ranges if name in matching]
    specificity, quality = max(found, default=(0, 0.0))
    return quality, specificity if quality else 0
