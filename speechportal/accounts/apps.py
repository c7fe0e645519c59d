from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "speechportal.accounts"
    label = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        from speechportal.accounts.audit import append_only
        from speechportal.accounts.audit.trail import follow, follow_groups
        from speechportal.accounts.models import (
            Account,
            AccountProvider,
            ApiToken,
            AuthenticatorApp,
            Invitation,
            Membership,
            Passkey,
            User,
        )

        follow(Account, ignore=["last_claimed_at", "turns_used_until", "budget_alerted", "budget_alerted_at"])
        follow(Membership)
        follow(Invitation, ignore=["digest"])
        follow(User, ignore=["last_login", "date_joined", "list_layouts"], secret=["password"])
        follow_groups(User.groups.through)
        follow(
            ApiToken,
            ignore=[
                "digest",
                "pepper",
                "last_used_at",
                "last_used_from",
                "minute_started_at",
                "minute_requests",
            ],
        )
        follow(
            AuthenticatorApp,
            ignore=["last_step", "failures", "wait_until"],
            secret=["encrypted_secret"],
        )
        follow(AccountProvider, secret=["encrypted_secret"])
        follow(Passkey, ignore=["credential_id", "credential", "sign_count", "last_used_at"])
        post_migrate.connect(append_only.install_triggers, sender=self)
