"""Series that make each alert fire, and when: `promtool test rules` plays them at one sample a minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

OF_GATEWAY = {"job": "gateway", "instance": "gateway:8080"}
OF_TORCHSERVE = {"job": "torchserve", "instance": "torchserve:8087"}
JOB = {"job": "gateway"}


def of(name: str, target: Mapping[str, str] = OF_GATEWAY, **labels: str) -> str:
    """A series of the gateway or of TorchServe."""
    selector = ", ".join(f'{label}="{value}"' for label, value in {**target, **labels}.items())
    return f"{name}{{{selector}}}"


def answered(status: str, endpoint: str = "/predict", method: str = "POST") -> str:
    """The requests that were answered so."""
    return of("http_requests_total", method=method, endpoint=endpoint, status=status)


OK, FAILED = answered("200"), answered("503", "/predict/batch")
AGREED, DISAGREED = (of("aidetect_shadow_samples_total", result=f"{which}agreement") for which in ("", "dis"))
PROBES_FAILED = answered("503", "/readyz", "GET")
SCORE, WINDOW = of("aidetect_drift_score"), of("aidetect_drift_window_size")
LOADED = of("WorkerLoadTime", OF_TORCHSERVE, WorkerName="W-9000")
LATENCY = {"1.0": "0+90x30", "2.5": "0+100x30", "+Inf": "0+100x30"}
VERSIONS = {"a": "1.2.0", "b": "1.3.0", "c": "none"}


def versions(served: Mapping[str, str]) -> dict[str, str]:
    """What gateways by their hosts say of the version."""
    return {
        of("aidetect_model_info", {**JOB, "instance": f"{host}:8080"}, version=version): "1x60"
        for host, version in served.items()
    }


class Case(NamedTuple):
    """One story: at minute `quiet` the alert does not fire yet, at `firing` it does, with these labels and words."""

    alert: str
    series: Mapping[str, str]
    quiet: int
    firing: int
    labels: Mapping[str, str]
    says: str


CASES = (
    *(
        Case("GatewayDown", {of("up"): up}, quiet, firing, labels, f"Prometheus has not been able to scrape {which} "
             "for a minute, so clients get nothing from it.")
        for up, quiet, firing, labels, which in (
            ("1x9 0x10", 10, 11, OF_GATEWAY, "gateway:8080"),
            ("1x4 stale", 4, 6, JOB, "any"),  # no target at all, as after a wrong edit of prometheus.yml
        )
    ),
    Case("TorchServeDown", {of("up", OF_TORCHSERVE): "1x9 0x10"}, 10, 11, OF_TORCHSERVE,
         "Prometheus has not been able to scrape torchserve:8087 for a minute. Predictions get a 503."),
    Case("ModelNotLoaded", {of("aidetect_model_loaded"): "1x9 0x10"}, 11, 12, OF_GATEWAY,
         "The gateway gateway:8080 has had no verdict from the model for two minutes. Predictions get a 503."),
    Case("ErrorBudgetBurnsFast", {OK: "0+90x140", FAILED: "0x60 0+10x80"}, 62, 130, JOB,
         "10% of the last hour's prediction requests failed. At this rate the error budget of 30 days lasts two days "
         "or less."),
    Case("ErrorBudgetBurnsSlowly", {OK: "0+95x400", FAILED: "0x30 0+10x370"}, 40, 400, JOB,
         "9.524% of the last six hours' prediction requests failed. At this rate the error budget of 30 days lasts "
         "five days or less."),
    Case("ModelServerErrors", {of("aidetect_backend_errors_total", cause="timeout"): "0x10 0+3x20"}, 12, 25,
         JOB | {"cause": "timeout"}, "30 calls brought no answer within ten minutes; cause timeout."),
    Case("WorkerCrashLoop", {LOADED: "9000x9 52000x4 91000x4 120000x20"}, 17, 25, OF_TORCHSERVE,
         "Workers on torchserve:8087 have loaded the model 3 times anew within half an hour."),
    Case("GatewayCrashLoop", {of("process_start_time_seconds"): "1000x9 1600x4 1900x4 2100x20"}, 17, 25, OF_GATEWAY,
         "The gateway gateway:8080 has started 3 times within half an hour."),
    Case("SlowPredictions",
         {of("aidetect_prediction_latency_seconds_bucket", le=le): rate for le, rate in LATENCY.items()}, 9, 20, JOB,
         "One verdict in twenty takes more than a second, queueing included; the 95th percentile is 1.75s."),
    Case("QueueBacksUp", {of("aidetect_queued_images"): "0x4 40x10"}, 6, 7, OF_GATEWAY,
         "40 images wait in the gateway gateway:8080; past 4 x GATEWAY_BACKEND_CONCURRENCY (64) clients get a 503."),
    Case("GatewayMemoryHigh", {of("process_resident_memory_bytes"): "120000000x4 536870912x20"}, 14, 15, OF_GATEWAY,
         "The gateway gateway:8080 holds 512MiB; idle it holds a quarter of that."),
    Case("GatewayFilesHigh", {of("process_open_fds"): "20x4 900x20", of("process_max_fds"): "1000x24"}, 14, 15,
         OF_GATEWAY, "The gateway gateway:8080 has 90% of its file descriptors open."),
    Case("HostMemoryHigh", {of("MemoryUtilization", OF_TORCHSERVE): "60x4 95x20"}, 14, 15, OF_TORCHSERVE,
         "95 % of the memory is in use where torchserve:8087 runs; workers may be killed."),
    Case("HostDiskFull", {of("DiskUtilization", OF_TORCHSERVE): "60x4 95x20"}, 14, 15, OF_TORCHSERVE,
         "95 % of the disk is in use where torchserve:8087 runs."),
    Case("UnknownKeys", {answered("401"): "0+120x30"}, 9, 20, JOB,
         "2.0 requests a second are refused with 401: a client lost its key, or somebody tries keys."),
    Case("RateLimitsHit",
         {OK: "0+30x40", answered("429"): "0+90x40", of("aidetect_rate_limited_total", endpoint="/predict"): "0+90x40"},
         14, 30, JOB, "1.5 requests a second are refused with 429, more than half of all: a client runs wild, or a "
         "leaked key is used."),
    Case("ImagesRefused",
         {of("aidetect_image_validation_errors_total", type="invalid_image_format"): "0+20x60",
          of("aidetect_predictions_total", status="success"): "0+10x60"},
         14, 40, JOB, "More images are refused for their format, size or damage than are predicted; a client sends "
         "something else than photos."),
    Case("DriftDetected", {of("aidetect_drift_detected"): "0x4 1x20"}, 19, 20, OF_GATEWAY,
         "What the gateway gateway:8080 sees no longer looks like its own first traffic. GET /drift says which checks "
         "alert."),
    Case("DriftNotCompared", {SCORE: "0x1700", WINDOW: "0+10x99 1000x1600"}, 1530, 1550, OF_GATEWAY,
         "The gateway gateway:8080 has a full window and has compared nothing for a day: no version of the model fills "
         "it, so that none gets a reference. GET /drift says more."),
    Case("VersionsMixed", versions(VERSIONS), 29, 31, JOB,
         "The gateways have had answers from 2 versions of the model for half an hour; a rollout got stuck."),
    Case("ShadowDisagrees", {AGREED: "0+3x120", DISAGREED: "0+1x120"}, 20, 60, JOB,
         "25% of the last hour's samples got another verdict from the shadow version. Look at both verdicts before it "
         "becomes the default."),
)  # fmt: skip

CALM: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "four failures of a quiet night": ("ErrorBudgetBurnsFast", {OK: "0+1x30", FAILED: "0x10 1 2 3 4x20"}),
    "a probe is not a prediction": ("ErrorBudgetBurnsFast", {OK: "0+90x60", PROBES_FAILED: "0+90x60"}),
    "the trouble is over": ("ErrorBudgetBurnsFast", {OK: "0+90x120", FAILED: "0+10x10 100x110"}),
    "within the objective": ("ErrorBudgetBurnsSlowly", {OK: "0+1000x90", FAILED: "0+4x90"}),
    "nobody asks": ("SlowPredictions", {of("aidetect_prediction_latency_seconds_bucket", JOB, le="+Inf"): "5x60"}),
    "one start and one stop": ("GatewayCrashLoop", {of("process_start_time_seconds"): "1000x9 1600x20"}),
    "a worker came back once": ("WorkerCrashLoop", {LOADED: "9000x9 52000x20"}),
    "drift is compared": ("DriftNotCompared", {SCORE: "0.4x100", WINDOW: "1000x100"}),
    "the first predictions become the reference": ("DriftNotCompared", {SCORE: "0x1700", WINDOW: "900x1700"}),
    "too few samples": ("ShadowDisagrees", {AGREED: "0x10 0+1x10", DISAGREED: "0x10 0+1x10"}),
    "one version, two gateways": ("VersionsMixed", versions(dict.fromkeys("ab", "1.2.0"))),
}
"""Stories in which an alert must never fire, by why somebody might think it did."""
