"""Support staff's pages for accounts and users, a module for each.

Django admin finds the pages of an app in this package, so it imports all modules.
"""

from speechportal.accounts.admin import account, people, safety

__all__ = ["account", "people", "safety"]
