"""Side-by-side measurements against peers: `transship bench NAME`."""
