"""Support staff's pages for accounts and people, a module for each."""

from speechportal.accounts.admin import account, people, safety

__all__ = ["account", "people", "safety"]
