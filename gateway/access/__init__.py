"""Who may ask, and how often: keys, clients and rates."""
