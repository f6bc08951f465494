"""All that runs the product: on this machine, in containers, in a cloud."""
