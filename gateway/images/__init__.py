"""What an upload's bytes are, read from headers alone: no full decoding."""
