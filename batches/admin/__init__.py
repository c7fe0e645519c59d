"""Admin of batches, tasks and deliveries, in one module per group of tables.

Django admin finds the pages of an app in this package, so it imports all modules.
"""

from batches.admin import accounts, batches, deliveries, fleet, ledger, models, panels, tasks, transcripts

__all__ = ["accounts", "batches", "deliveries", "fleet", "ledger", "models", "panels", "tasks", "transcripts"]
