"""The environment's names for the gateway's settings."""

from __future__ import annotations

from gateway.settings import Settings, variable

VARIABLES = {variable(name): name for name in Settings.model_fields}
"""Every variable that the gateway reads, and its setting."""
