"""TorchServe as a process: its start, its container, its management API."""
