"""Where images come from: each source fills a folder and returns its rows, in splits, for the manifest."""
