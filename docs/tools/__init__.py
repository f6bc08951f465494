"""What the documentation is made by: its picture, its table of costs, and the site."""
