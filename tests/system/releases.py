"""Last migrations of each release, by app; "zero" before an app had any.

Upgrades are tested from each. A release adds where its own end, which `manage.py showmigrations` says.
"""

RELEASES = {
    # The tables of 0.1.0, before any release: every later one is upgraded from here.
    "0.1.0": {
        "accounts": "0001_initial",
        "api": "0001_initial",
        "batches": "0001_initial",
        "domains": "0001_initial",
        "platform": "0001_initial",
        "storage": "0001_initial",
    },
}
