"""Batches and what comes of them, for programs."""
