from __future__ import annotations

import pytest

from tests.ops.promql import labels_of, metrics_of


@pytest.mark.parametrize(
    ("expression", "metrics", "labels"),
    [
        ("up", {"up"}, set()),
        ('sum by (job) (rate(a_total{status=~"5..|b_total"}[5m]))', {"a_total"}, {"job", "status"}),
        ("job:a:rate5m > 14.4 * 0.005 and b >= 1e6", {"job:a:rate5m", "b"}, set()),
        ("x / ignoring (confidence) group_left sum(y[$__rate_interval])", {"x", "y"}, {"confidence"}),
        ("absent(up{job!='x'}) or vector(0)", {"up"}, {"job"}),
    ],
)
def test_metrics_and_labels_are_told_from_functions_words_and_strings(
    expression: str, metrics: set[str], labels: set[str]
) -> None:
    assert (metrics_of(expression), labels_of(expression)) == (metrics, labels)
