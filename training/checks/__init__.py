"""What `validate` measures: facts about each image, duplicates, leaks, findings, and the page that shows them."""
