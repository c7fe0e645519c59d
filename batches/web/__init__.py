"""The pages of batches, tasks and usage."""
