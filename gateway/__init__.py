"""The public HTTP API: a small Starlette application in front of TorchServe."""
