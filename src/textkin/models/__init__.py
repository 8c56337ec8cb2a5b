"""Text to vectors: catalog, weights, engines, fingerprints. Knows nothing of stores."""
