"""Scoring catalogues in bulk: a list of images in shards, and a Parquet file of verdicts for each."""
