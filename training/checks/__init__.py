"""What `validate` measures: facts about each image, duplicates, leaks, and findings."""
