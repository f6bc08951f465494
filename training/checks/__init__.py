"""What `validate` measures: facts about each picture, duplicates, leaks, findings, and the page that shows them."""
