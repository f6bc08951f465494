"""Scoring catalogues in bulk: a list of pictures in shards, and a Parquet file of verdicts for each."""
