"""The page's tabs: each lays out its part and answers its events."""
