"""The network: its weights, its training, its graphs."""
