"""Jobs over more texts than fit in memory: streamed in shards, resumable, on one machine or many."""
