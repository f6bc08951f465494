"""What every request and answer go through, whatever the route."""
