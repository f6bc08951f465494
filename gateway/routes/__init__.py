"""What answers requests: the routes that predict, and those for operators."""
