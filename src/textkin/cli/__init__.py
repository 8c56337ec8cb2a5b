"""The command line: reads arguments, calls the collection, prints."""
