"""Series that make each alert fire, and when: `promtool test rules` plays them at one sample a minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

GATEWAY = 'job="gateway", instance="gateway:8080"'
TORCHSERVE = 'job="torchserve", instance="torchserve:8087"'
OF_GATEWAY = {"job": "gateway", "instance": "gateway:8080"}
OF_TORCHSERVE = {"job": "torchserve", "instance": "torchserve:8087"}
JOB = {"job": "gateway"}
OK = f'http_requests_total{{{GATEWAY}, method="POST", endpoint="/predict", status="200"}}'
FAILED = f'http_requests_total{{{GATEWAY}, method="POST", endpoint="/predict/batch", status="503"}}'
PROBES_FAILED = f'http_requests_total{{{GATEWAY}, method="GET", endpoint="/readyz", status="503"}}'
AGREED = f'aidetect_shadow_samples_total{{{GATEWAY}, result="agreement"}}'
DISAGREED = f'aidetect_shadow_samples_total{{{GATEWAY}, result="disagreement"}}'


@dataclass(frozen=True)
class Case:
    """One story: at minute `quiet` the alert does not fire yet, at `firing` it does, with these labels and words."""

    alert: str
    series: Mapping[str, str]
    quiet: int
    firing: int
    says: str
    labels: Mapping[str, str] = field(default_factory=lambda: OF_GATEWAY)


@dataclass(frozen=True)
class Calm:
    """A story in which an alert must never fire, and why somebody might think it did."""

    alert: str
    why: str
    series: Mapping[str, str]


CASES = (
    Case(
        "GatewayDown",
        {f"up{{{GATEWAY}}}": "1x9 0x10"},
        quiet=10,
        firing=11,
        says="Prometheus has not been able to scrape gateway:8080 for a minute, so clients get nothing from it.",
    ),
    Case(
        "GatewayDown",  # no target at all, as after a wrong edit of prometheus.yml
        {f"up{{{GATEWAY}}}": "1x4 stale"},
        quiet=4,
        firing=6,
        labels=JOB,
        says="Prometheus has not been able to scrape any for a minute, so clients get nothing from it.",
    ),
    Case(
        "TorchServeDown",
        {f"up{{{TORCHSERVE}}}": "1x9 0x10"},
        quiet=10,
        firing=11,
        labels=OF_TORCHSERVE,
        says="Prometheus has not been able to scrape torchserve:8087 for a minute. Predictions get a 503.",
    ),
    Case(
        "ModelNotLoaded",
        {f"aidetect_model_loaded{{{GATEWAY}}}": "1x9 0x10"},
        quiet=11,
        firing=12,
        says="The gateway gateway:8080 has had no verdict from the model for two minutes. Predictions get a 503.",
    ),
    Case(
        "ErrorBudgetBurnsFast",
        {OK: "0+90x140", FAILED: "0x60 0+10x80"},
        quiet=62,
        firing=130,
        labels=JOB,
        says="10% of the last hour's prediction requests failed. At this rate the error budget of 30 days "
        "lasts two days or less.",
    ),
    Case(
        "ErrorBudgetBurnsSlowly",
        {OK: "0+95x400", FAILED: "0x30 0+10x370"},
        quiet=40,
        firing=400,
        labels=JOB,
        says="9.524% of the last six hours' prediction requests failed. At this rate the error budget of 30 "
        "days lasts five days or less.",
    ),
    Case(
        "ModelServerErrors",
        {f'aidetect_backend_errors_total{{{GATEWAY}, cause="timeout"}}': "0x10 0+3x20"},
        quiet=12,
        firing=25,
        labels=JOB | {"cause": "timeout"},
        says="30 calls brought no answer within ten minutes; cause timeout.",
    ),
    Case(
        "WorkerCrashLoop",
        {f'WorkerLoadTime{{{TORCHSERVE}, WorkerName="W-9000"}}': "9000x9 52000x4 91000x4 120000x20"},
        quiet=17,
        firing=25,
        labels=OF_TORCHSERVE,
        says="Workers on torchserve:8087 have loaded the model 3 times anew within half an hour.",
    ),
    Case(
        "GatewayCrashLoop",
        {f"process_start_time_seconds{{{GATEWAY}}}": "1000x9 1600x4 1900x4 2100x20"},
        quiet=17,
        firing=25,
        says="The gateway gateway:8080 has started 3 times within half an hour.",
    ),
    Case(
        "SlowPredictions",
        {
            f'aidetect_prediction_latency_seconds_bucket{{{GATEWAY}, le="{le}"}}': f"0+{each}x30"
            for le, each in (("1.0", 90), ("2.5", 100), ("+Inf", 100))
        },
        quiet=9,
        firing=20,
        labels=JOB,
        says="One verdict in twenty takes more than a second, queueing included; the 95th percentile is 1.75s.",
    ),
    Case(
        "QueueBacksUp",
        {f"aidetect_queued_images{{{GATEWAY}}}": "0x4 40x10"},
        quiet=6,
        firing=7,
        says="40 images wait in the gateway gateway:8080; past GATEWAY_BACKEND_QUEUE (64) clients get a 503.",
    ),
    Case(
        "GatewayMemoryHigh",
        {f"process_resident_memory_bytes{{{GATEWAY}}}": "120000000x4 536870912x20"},
        quiet=14,
        firing=15,
        says="The gateway gateway:8080 holds 512MiB; idle it holds a quarter of that.",
    ),
    Case(
        "GatewayFilesHigh",
        {f"process_open_fds{{{GATEWAY}}}": "20x4 900x20", f"process_max_fds{{{GATEWAY}}}": "1000x24"},
        quiet=14,
        firing=15,
        says="The gateway gateway:8080 has 90% of its file descriptors open.",
    ),
    Case(
        "HostMemoryHigh",
        {f"MemoryUtilization{{{TORCHSERVE}}}": "60x4 95x20"},
        quiet=14,
        firing=15,
        labels=OF_TORCHSERVE,
        says="95 % of the memory is in use where torchserve:8087 runs; workers may be killed.",
    ),
    Case(
        "HostDiskFull",
        {f"DiskUtilization{{{TORCHSERVE}}}": "60x4 95x20"},
        quiet=14,
        firing=15,
        labels=OF_TORCHSERVE,
        says="95 % of the disk is in use where torchserve:8087 runs.",
    ),
    Case(
        "UnknownKeys",
        {f'http_requests_total{{{GATEWAY}, method="POST", endpoint="/predict", status="401"}}': "0+120x30"},
        quiet=9,
        firing=20,
        labels=JOB,
        says="2.0 requests a second are refused with 401: a client lost its key, or somebody tries keys.",
    ),
    Case(
        "RateLimitsHit",
        {
            OK: "0+30x40",
            f'http_requests_total{{{GATEWAY}, method="POST", endpoint="/predict", status="429"}}': "0+90x40",
            f'aidetect_rate_limited_total{{{GATEWAY}, endpoint="/predict"}}': "0+90x40",
        },
        quiet=14,
        firing=30,
        labels=JOB,
        says="1.5 requests a second are refused with 429, more than half of all: a client runs wild, or a "
        "leaked key is used.",
    ),
    Case(
        "ImagesRefused",
        {
            f'aidetect_image_validation_errors_total{{{GATEWAY}, type="invalid_image_format"}}': "0+20x60",
            f'aidetect_predictions_total{{{GATEWAY}, status="success"}}': "0+10x60",
        },
        quiet=14,
        firing=40,
        labels=JOB,
        says="More images are refused for their format, size or damage than are judged; a client sends "
        "something else than photos.",
    ),
    Case(
        "DriftDetected",
        {f"aidetect_drift_detected{{{GATEWAY}}}": "0x4 1x20"},
        quiet=19,
        firing=20,
        says="What the gateway gateway:8080 sees no longer looks like its own first traffic. GET /drift says "
        "which checks alert.",
    ),
    Case(
        "DriftNotCompared",
        {
            f"aidetect_drift_score{{{GATEWAY}}}": "0x1700",
            f"aidetect_drift_window_size{{{GATEWAY}}}": "0+10x99 1000x1600",
        },
        quiet=1530,
        firing=1550,
        says="The gateway gateway:8080 has a full window and has compared nothing for a day: no version of the model "
        "fills it, so that none gets a reference. GET /drift says more.",
    ),
    Case(
        "VersionsMixed",
        {
            'aidetect_model_info{job="gateway", instance="a:8080", version="1.2.0"}': "1x60",
            'aidetect_model_info{job="gateway", instance="b:8080", version="1.3.0"}': "1x60",
            'aidetect_model_info{job="gateway", instance="c:8080", version="none"}': "1x60",
        },
        quiet=29,
        firing=31,
        labels=JOB,
        says="The gateways have had answers from 2 versions of the model for half an hour; a rollout got stuck.",
    ),
    Case(
        "ShadowDisagrees",
        {AGREED: "0+3x120", DISAGREED: "0+1x120"},
        quiet=20,
        firing=60,
        labels=JOB,
        says="25% of the last hour's samples got another verdict from the shadow version. Look at both "
        "verdicts before it becomes the default.",
    ),
)

CALM = (
    Calm("ErrorBudgetBurnsFast", "four failures of a quiet night", {OK: "0+1x30", FAILED: "0x10 1 2 3 4x20"}),
    Calm("ErrorBudgetBurnsFast", "a probe is no prediction", {OK: "0+90x60", PROBES_FAILED: "0+90x60"}),
    Calm("ErrorBudgetBurnsFast", "the trouble is over", {OK: "0+90x120", FAILED: "0+10x10 100x110"}),
    Calm("ErrorBudgetBurnsSlowly", "within the objective", {OK: "0+1000x90", FAILED: "0+4x90"}),
    Calm(
        "SlowPredictions",
        "nobody asks",
        {'aidetect_prediction_latency_seconds_bucket{job="gateway", le="+Inf"}': "5x60"},
    ),
    Calm("GatewayCrashLoop", "one start and one stop", {f"process_start_time_seconds{{{GATEWAY}}}": "1000x9 1600x20"}),
    Calm("WorkerCrashLoop", "a worker came back once", {f"WorkerLoadTime{{{TORCHSERVE}}}": "9000x9 52000x20"}),
    Calm(
        "DriftNotCompared",
        "drift is compared",
        {
            f"aidetect_drift_score{{{GATEWAY}}}": "0.4x100",
            f"aidetect_drift_window_size{{{GATEWAY}}}": "1000x100",
        },
    ),
    Calm(
        "DriftNotCompared",
        "the first predictions become the reference",
        {f"aidetect_drift_score{{{GATEWAY}}}": "0x1700", f"aidetect_drift_window_size{{{GATEWAY}}}": "900x1700"},
    ),
    Calm("ShadowDisagrees", "too few samples", {AGREED: "0x10 0+1x10", DISAGREED: "0x10 0+1x10"}),
    Calm(
        "VersionsMixed",
        "one version, two gateways",
        {f'aidetect_model_info{{job="gateway", instance="{name}:8080", version="1.2.0"}}': "1x60" for name in "ab"},
    ),
)
