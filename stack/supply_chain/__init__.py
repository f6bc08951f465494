"""What the product is made of: who licensed it, what is known against it, and a list of it for others."""
