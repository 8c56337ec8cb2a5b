"""Models that others run: packed requests, several in flight, retried, and checked before anything is kept."""
