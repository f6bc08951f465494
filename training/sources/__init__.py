"""Where pictures come from: each source fills a folder with pictures and returns their rows of the manifest."""
