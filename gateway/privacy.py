"""What becomes of the data: one statement, as JSON and as a page."""

from collections.abc import Iterable
from html import escape
from typing import Final

from gateway import NAME, read_version
from gateway.schemas import PrivacyBody, Retention
from gateway.settings import Settings

COLLECTOR: Final = (
    "The operator's trace collector: of every request the trace id, time, method, route, status, error code and "
    "duration; nothing of images, file names, API keys or network addresses."
)
_PAGE: Final = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Privacy</title><link rel="stylesheet" href="docs/page.css"></head><body><h1>Privacy</h1>
{}</body></html>"""


def statement(settings: Settings) -> PrivacyBody:
    """The statement of this deployment."""
    seconds = f"{settings.predict_timeout_s:g} s"
    sample = Retention(
        data="A sample of the images",
        kept=f"At most {seconds} after the answer, in memory, for a second version of the model.",
    )
    return PrivacyBody(
        service=NAME,
        version=read_version(),
        contact=settings.privacy_contact or None,
        summary="Images are classified and forgotten: they are neither stored, nor used for training, nor passed on to "
        "third parties.",
        processed=[
            "The uploaded image, with whatever metadata the file carries, to predict whether it is AI-generated.",
            "The file names of a batch, to name its results in the answer.",
            "The API key, compared with the configured keys by its hash.",
            "The client's network address, to count requests where there is no API key.",
        ],
        logged=[
            "Request id, trace id, time, method, path (without the query), status, error code and duration.",
            "The short id of the API key: its name in the file of keys, or the first digits of its hash.",
            "The prediction, its probability, confidence, model version and timing; of a batch, its counts.",
        ],
        not_logged=[
            "Image content, pixels or metadata.",
            "File names.",
            "API keys.",
            "Heat maps.",
            "Query strings and bodies.",
        ],
        retention=[
            Retention(data="Images", kept="While the request lasts, in memory; never on a disk."),
            Retention(data="Heat maps", kept="While the request lasts; the only copy is in the answer."),
            Retention(data="Request counts by API key or network address", kept="At most a few minutes."),
            Retention(
                data="Log lines", kept="Written to standard error alone; how long is for the operator's log system."
            ),
            *([sample] if settings.shadow_version else []),
            Retention(
                data="Predictions, image sizes, brightness, sharpness and compression, for drift detection",
                kept=f"The newest {settings.drift_window:,}, as numbers without anything that leads back to a request.",
            ),
        ],
        recipients=[
            "The model server, which belongs to this service and stores nothing.",
            *([COLLECTOR] if settings.otlp_endpoint else []),
        ],
    )


def as_html(body: PrivacyBody) -> str:
    """The same statement as a page."""
    sections = {
        "What is processed": body.processed,
        "What is logged": body.logged,
        "What is never logged": body.not_logged,
        "How long it is kept": [f"{item.data}: {item.kept}" for item in body.retention],
        "Who receives it": body.recipients,
        "Contact": [body.contact] if body.contact else [],
    }
    listed = "".join(_section(title, entries) for title, entries in sections.items() if entries)
    return _PAGE.format(f"<p>{escape(body.summary)}</p>{listed}<footer>{escape(f'{NAME} {body.version}')}</footer>")


def _section(title: str, entries: Iterable[str]) -> str:
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(entry)}</li>' for entry in entries)}</ul>"
