"""Support staff's pages for batches and what comes of them, a module for each group of tables."""

from batches.admin import accounts, batches, deliveries, ledger, models, panels, tasks, transcripts

__all__ = ["accounts", "batches", "deliveries", "ledger", "models", "panels", "tasks", "transcripts"]
