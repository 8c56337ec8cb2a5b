"""Work over many texts: embedding records, indexing with resume."""
