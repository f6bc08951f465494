"""What the gateway says of itself: OpenAPI, its examples and the privacy statement."""
