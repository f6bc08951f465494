"""How fast the parts of the product are, measured on processes as they run in production."""
