"""A measurement of the whole stack, made up so that every ratio is a round number."""

from __future__ import annotations

from benchmarks.figures import (
    ALONE,
    BATCH,
    CEILING,
    EXPLAIN,
    GATEWAY,
    MOST,
    PLAIN,
    PREDICT,
    ROWS,
    SMALL,
    TORCHSERVE,
    Burst,
    Measured,
    Row,
    health,
)

STACKS = (CEILING, ALONE, SMALL, PLAIN, TORCHSERVE, GATEWAY)
BATCHED = Row(GATEWAY, BATCH, 1, pictures=10)


def burst(ms: float, per_s: float) -> Burst:
    return Burst([ms - 1, ms, ms + 1], per_s)


def measured(**changed: Burst) -> Measured:
    """Two rounds, the second on a machine half as fast, which changes no ratio."""
    first = {row: burst(20, 10) for row in ROWS} | {
        Row(CEILING): burst(20, 100),
        Row(ALONE): burst(10, 50),
        Row(PLAIN, PREDICT, MOST): burst(80, 20),
        Row(SMALL, PREDICT, MOST): burst(40, 40),
        Row(GATEWAY, PREDICT, MOST): changed.get("together", burst(40, 90)),
        Row(GATEWAY): changed.get("alone", burst(15, 40)),
        Row(GATEWAY, EXPLAIN): changed.get("explained", burst(24, 30)),
        health(GATEWAY): changed.get("probes", Burst([30.0], 50)),
        BATCHED: burst(200, 5),
    }
    second = {row: Burst([2 * one for one in found.latencies_ms], found.per_s / 2) for row, found in first.items()}
    memory = dict.fromkeys(STACKS, 1000.0)
    return Measured([first, second], [memory, memory], dict.fromkeys(STACKS, 2.5), {"model": "1.2.3"})
