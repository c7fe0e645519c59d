"""Pages of batches, tasks, transcripts, deliveries and usage."""
