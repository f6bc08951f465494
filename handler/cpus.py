"""How many CPUs this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup/cpu.max")
"""A container's share of CPU time: microseconds, or `max`, of a period in microseconds."""


def cpus(cgroup: Path = CGROUP) -> int:
    """Return the number of CPUs that this process may run on, or fewer if its container has less of their time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text(encoding="ascii").split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or one without a limit
        return allowed
