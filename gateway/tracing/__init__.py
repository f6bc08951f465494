"""Spans for an OpenTelemetry collector, by a setting; without it OpenTelemetry is not even imported."""
