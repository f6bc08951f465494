"""TorchServe behind the gateway: calls, queue, readiness, a second version beside the first."""
