"""The command line `product-photo-detector`: photos through a gateway, and what its operators need."""
