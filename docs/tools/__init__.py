"""The hook by which MkDocs builds the site."""
