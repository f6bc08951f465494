"""The environment's names for the gateway's settings."""

from __future__ import annotations

from gateway.settings import Settings


def variable(name: str) -> str:
    """The variable of a setting."""
    return str(Settings.model_fields[name].validation_alias or f"GATEWAY_{name.upper()}")


VARIABLES = {variable(name): name for name in Settings.model_fields}
"""Every variable that the gateway reads, and its setting."""
