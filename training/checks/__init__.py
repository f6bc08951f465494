"""What `validate` measures: facts about each picture, duplicates, findings, and the page that shows them."""
