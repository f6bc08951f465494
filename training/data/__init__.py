"""The images: where they come from, the manifest that lists them, and what training makes of them."""
