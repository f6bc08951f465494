"""What people read: reports on disk, plots, pages and the model card."""
