"""REST endpoints of batches, tasks, transcripts, deliveries and usage."""
