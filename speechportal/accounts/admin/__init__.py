"""Admin of accounts and users, in one module per subject.

Django admin finds the pages of an app in this package, so it imports all modules.
"""

from speechportal.accounts.admin import account, company_sign_in, people, safety

__all__ = ["account", "company_sign_in", "people", "safety"]
