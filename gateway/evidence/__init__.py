"""What an image's own file says about where it came from; it never touches the probability."""
