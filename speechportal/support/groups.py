"""Staff groups and their permissions; ``migrate`` creates and updates them.

*viewer* reads; *support* also operates batches and changes what members could; *finance* changes prices and
adjusts charges; *administrator* does all of that, assigns staff, and erases data. None of them reads
transcripts unless the account allows it.
"""

from __future__ import annotations

from typing import Any

VIEWED = {
    "accounts": [
        "account",
        "accountprovider",
        "apitoken",
        "auditentry",
        "invitation",
        "membership",
        "signinfailures",
        "user",
    ],
    "auth": ["group"],
    "storage": ["connection"],
    "domains": ["domain", "keyword"],
    "batches": [
        "adjustment",
        "pendingfile",
        "batch",
        "charge",
        "clientrequest",
        "connectionbackoff",
        "correction",
        "delivery",
        "deliveryattempt",
        "executionresult",
        "processedfolder",
        "resultfile",
        "recognitionhost",
        "servedmodel",
        "task",
        "webhook",
    ],
    "platform": ["maintenance"],
}
VIEWER = [f"{app}.view_{model}" for app, models in VIEWED.items() for model in models]
SUPPORT = [
    *VIEWER,
    "accounts.add_account",
    "accounts.change_account",
    "accounts.change_accountprovider",
    "accounts.change_limits",
    "accounts.suspend_account",
    "accounts.operate_batches",
    "accounts.rotate_secrets",
    "accounts.add_membership",
    "accounts.change_membership",
    "accounts.delete_membership",
    "accounts.add_user",
    "accounts.change_user",
    "accounts.delete_signinfailures",
    "batches.add_batch",
    "batches.change_batch",
    "batches.delete_batch",
    "batches.operate_fleet",
    "batches.view_storedtranscript",
    "domains.add_domain",
    "domains.change_domain",
    "domains.delete_domain",
    "storage.add_connection",
    "storage.change_connection",
    "storage.delete_connection",
]
FINANCE = [*VIEWER, "accounts.change_price"]
ADMINISTRATOR = [
    *SUPPORT,
    *FINANCE,
    "accounts.erase_account",
    "accounts.view_authenticatorapp",
    "accounts.delete_authenticatorapp",
    "accounts.view_passkey",
    "accounts.view_recoverycode",
    "auth.change_group",
    "batches.view_searchtext",
    "django_q.view_failure",
    "api.view_idempotencyrecord",
    "platform.view_namedlease",
]
GROUPS = {"viewer": VIEWER, "support": SUPPORT, "finance": FINANCE, "administrator": ADMINISTRATOR}


def install_groups(using: str = "default", **_kwargs: Any) -> None:
    """Create the groups, or give them exactly these permissions (``post_migrate``, of the last app)."""
    from django.contrib.auth.models import Group, Permission

    permissions = {
        f"{each.content_type.app_label}.{each.codename}": each
        for each in Permission.objects.using(using).select_related("content_type")
    }
    for name, wanted in GROUPS.items():
        group, _created = Group.objects.using(using).get_or_create(name=name)
        found = {permissions[each] for each in wanted if each in permissions}
        if set(group.permissions.all()) != found:
            group.permissions.set(found)
