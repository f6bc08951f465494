"""A local Prometheus beside the stack: it shows that the shipped rules fire and that the dashboards have data."""
