"""Support staff's pages for batches, tasks and deliveries, a module for each group of tables.

Django admin finds the pages of an app in this package, so it imports all modules.
"""

from batches.admin import accounts, batches, deliveries, ledger, models, panels, tasks, transcripts

__all__ = ["accounts", "batches", "deliveries", "ledger", "models", "panels", "tasks", "transcripts"]
