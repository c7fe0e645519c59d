"""Where the migrations of earlier versions ended; "zero" before an app had any.

Upgrades are tested from each. A release adds where its own end, which `manage.py showmigrations` says.
"""

RELEASES = {
    # The first version that did the main job.
    "first": {
        "accounts": "0001_initial",
        "storage": "0001_initial",
        "domains": "0001_initial",
        "batches": "0001_initial",
        "platform": "0001_initial",
        "api": "zero",
    },
    # As CHANGELOG.md began.
    "0.1.0": {
        "accounts": "0004_audit",
        "storage": "0001_initial",
        "domains": "0001_initial",
        "batches": "0006_support",
        "platform": "0001_initial",
        "api": "0001_initial",
    },
}
