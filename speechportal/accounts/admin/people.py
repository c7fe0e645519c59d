"""Users, memberships, invitations, staff groups and API tokens in admin."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.audit import trail
from speechportal.accounts.audit.actor import current_actor
from speechportal.accounts.members import memberships
from speechportal.accounts.models import ApiToken, Invitation, Membership, User
from speechportal.accounts.sign_in import passkeys, second_factor, sessions
from speechportal.accounts.tokens import api_tokens
from speechportal.support.actions import Action
from speechportal.support.admin import PortalModelAdmin, ReadOnlyAdmin, ReasonedForm, link_to, link_to_list
from speechportal.support.lists import neighbour


def may_act_on(acting: User, row: User) -> bool:
    """Whether a user may change another: only superusers change superusers, only administrators staff."""
    if acting.is_superuser:
        return True
    return not row.is_superuser and (not row.is_staff or acting.has_perm("auth.change_group"))


def refuse_above(row: User) -> None:
    """Raise ``ValidationError`` if the acting staff member may not change this user."""
    user_id = current_actor().user_id
    acting = None if user_id is None else User.objects.filter(pk=user_id).first()
    if acting is not None and not may_act_on(acting, row):
        raise ValidationError(_("Only a superuser does this to a superuser, and an administrator to staff."))


class ResetTwoFactor(Action):
    name, label = "reset_two_factor", _("Reset two-factor")
    description = _(
        "Takes the authenticator app, the passkeys and the recovery codes away and signs the person out"
        " everywhere."
        " Make sure who is asking."
    )
    permission = "accounts.delete_authenticatorapp"
    for_many = False
    dangerous = True

    def applies_to(self, row: User) -> bool:
        return second_factor.is_set_up(row.pk)

    def perform(self, row: User, answers: dict[str, Any]) -> str:
        refuse_above(row)
        if not second_factor.remove_all(row.pk):
            raise ValidationError(_("There is no second factor to take away."))
        sessions.end(row.pk)
        return gettext("The next sign-in asks for the password alone; staff set up a second factor then.")


class EndSessions(Action):
    name, label = "end_sessions", _("Sign out everywhere")
    description = _("Ends every session of the person, such as on a device that was stolen.")
    permission = "accounts.change_user"
    for_many = False

    def perform(self, row: User, answers: dict[str, Any]) -> str:
        refuse_above(row)
        ended = sessions.end(row.pk)
        trail.record("user.sessions_ended", row, changes={"sessions": [None, ended]})
        return gettext("Sessions that were ended: %d.") % ended


class ConfirmAddress(Action):
    name, label = "confirm_address", _("Address is theirs")
    description = _(
        "Confirms that the e-mail address belongs to the person, such as after a call back. Without it, or a"
        " link that was mailed, staff cannot make them a member of an account."
    )
    permission = "accounts.change_user"
    for_many = False

    def applies_to(self, row: User) -> bool:
        return row.email_verified_at is None

    def perform(self, row: User, answers: dict[str, Any]) -> str:
        row.email_verified_at = timezone.now()
        row.save(update_fields=["email_verified_at"])
        return gettext("The address is confirmed.")


class UserForm(ReasonedForm, UserChangeForm):  # type: ignore[type-arg] # Django's is not generic at run time
    class Meta:
        model = User
        fields = "__all__"


class NewUserForm(AdminUserCreationForm):  # type: ignore[type-arg] # Django's is not generic at run time
    class Meta:
        model = User
        fields = ["email"]


@admin.register(User)
class UserAdmin(PortalModelAdmin[User], DjangoUserAdmin[User]):
    """Users. Only administrators assign staff status and groups; only superusers make superusers."""

    form = UserForm
    add_form = NewUserForm
    find_exact: ClassVar[list[str]] = []
    find_part = ("email", "first_name", "last_name")
    ordering = ["-pk"]
    filter_horizontal: ClassVar[list[str]] = []
    list_filter: ClassVar[list[Any]] = []
    list_display = ["email", "first_name", "last_name", "is_staff", "is_active", "last_login"]
    fieldsets = [
        (None, {"fields": ["email", "password", "first_name", "last_name", "language", "time_zone"]}),
        (_("Rights"), {"fields": ["is_active", "is_staff", "is_superuser", "groups"]}),
    ]
    add_fieldsets = [(None, {"fields": ["email", "usable_password", "password1", "password2"]})]
    portal_actions: ClassVar[list[type[Action]]] = [ResetTwoFactor, EndSessions, ConfirmAddress]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        user: Any = request.user
        if user.is_superuser:
            return []
        # By setting an address or a password, staff could sign in as a member and read transcripts.
        if user.has_perm("auth.change_group"):
            return ["is_superuser"] if obj is None else ["is_superuser", "email"]
        rights = ["is_superuser", "is_staff", "groups"]
        return rights if obj is None else [*rights, "email"]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        user: Any = request.user
        if obj is not None and not may_act_on(user, obj):
            return False
        return super().has_change_permission(request, obj)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:  # noqa: A002 - Django's name
        user: Any = request.user
        if not user.is_superuser and str(user.pk) != id:
            raise PermissionDenied(_("Only a superuser sets another person’s password."))
        return super().user_change_password(request, id, form_url)

    def summary(self, row: User) -> list[tuple[Any, Any]]:
        memberships = row.memberships.select_related("account")[:10]
        return [
            (_("Last signed in"), row.last_login),
            (_("Address verified"), row.email_verified_at or _("no")),
            (_("Two-factor"), _("set up") if second_factor.is_set_up(row.pk) else _("not set up")),
            (_("Passkeys"), passkeys.of_user(row.pk).count()),
            # Only their number: the admin's links would contain session keys, which grant access.
            (_("Sessions"), len(sessions.of_user(row.pk))),
            *((membership.get_role_display(), link_to(membership.account)) for membership in memberships),
        ]

    def found_as(self, row: User) -> list[Any]:
        return [row.email, row.get_full_name(), ""]


class RemoveMember(Action):
    name, label = "remove", pgettext_lazy("person", "Remove")
    description = _("They see nothing of the account from now on, and their API tokens for it stop working.")
    permission = "accounts.delete_membership"
    dangerous = True

    def perform(self, row: Membership, answers: dict[str, Any]) -> str:
        memberships.remove_member(membership=row)
        return gettext("They are not a member any more.")


@admin.register(Membership)
class MembershipAdmin(PortalModelAdmin[Membership]):
    find_exact: ClassVar[list[str]] = ["account__uid"]
    find_part = ("user__email",)
    list_display = ["user", "account", "role", "breaks_glass", "created_at"]
    list_select_related = ["user", "account"]
    list_filter = [neighbour("account", "account__uid", _("account"))]
    fields = ["account", "user", "role", "breaks_glass"]
    autocomplete_fields = ["account", "user"]
    portal_actions = [RemoveMember]

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> list[str]:
        return ["account", "user"] if obj is not None else []

    def summary(self, row: Membership) -> list[tuple[Any, Any]]:
        return [(_("Account"), link_to(row.account)), (_("User"), link_to(row.user))]

    def find(self, request: HttpRequest, text: str) -> list[Membership]:
        return []  # The search finds users and accounts instead.

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        if change:
            memberships.change_role(membership=obj, role=form.cleaned_data.get("role", obj.role))
            if "breaks_glass" in form.changed_data:
                memberships.set_break_glass(membership=obj, on=form.cleaned_data["breaks_glass"])
            return
        if obj.user.email_verified_at is None:
            raise ValidationError(
                _(
                    "Nobody has shown yet that the address %(email)s is theirs. Let them set a password by"
                    " the link under “Forgot your password?”, which is mailed to it; or confirm it with"
                    " “Address is theirs” on the user’s page."
                ),
                code="email_not_verified",
                params={"email": obj.user.email},
            )
        # Staff could otherwise give themselves access. Staff make only the first owner, who invites others.
        if obj.account.memberships.filter(role=Membership.Role.OWNER).exists():
            raise ValidationError(
                _("The account has an owner, who can invite people."), code="account_has_owner"
            )
        obj.save()


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin[Invitation]):
    """Invitations, read-only. The link itself is not stored."""

    find_exact = ("uid",)
    find_part = ("email",)
    list_display = [
        "email",
        "uid",
        "account",
        "role",
        "invited_by",
        "created_at",
        "expires_at",
        "accepted_at",
    ]
    list_select_related = ["account", "invited_by"]
    list_filter = [neighbour("account", "account__uid", _("account"))]
    fields = ["email", "role", "created_at", "expires_at", "accepted_at"]

    def summary(self, row: Invitation) -> list[tuple[Any, Any]]:
        return [(_("Account"), link_to(row.account)), (_("Invited by"), link_to(row.invited_by))]


class RevokeToken(Action):
    name, label = "revoke", _("Revoke")
    description = _("Programs that use the token are refused from now on. This cannot be undone.")
    permission = "accounts.rotate_secrets"
    dangerous = True

    def applies_to(self, row: ApiToken) -> bool:
        return row.revoked_at is None

    def perform(self, row: ApiToken, answers: dict[str, Any]) -> str:
        if row.revoked_at is not None:
            raise ValidationError(_("The token was revoked already."))
        api_tokens.revoke_token(token=row)
        return gettext("The token was revoked.")


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin[ApiToken]):
    find_exact = ("uid", "key")
    find_part = ("name",)
    list_display = [
        "name",
        "uid",
        "start",
        "account",
        "created_by",
        "last_used_at",
        "expires_at",
        "revoked_at",
    ]
    list_select_related = ["account", "created_by"]
    list_filter = [neighbour("account", "account__uid", _("account"))]
    fields = [
        "name",
        "scopes",
        "allowed_addresses",
        "expires_at",
        "revoked_at",
        "last_used_at",
        "created_at",
    ]
    portal_actions = [RevokeToken]

    def summary(self, row: ApiToken) -> list[tuple[Any, Any]]:
        return [
            (_("ID"), row.uid),
            (_("Begins with"), row.start),
            (_("Account"), link_to(row.account)),
            (_("Made by"), link_to(row.created_by)),
        ]


def tokens_of(account_uid: str, count: int) -> str:
    return link_to_list(ApiToken, count, account=account_uid)


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(ReadOnlyAdmin[Group]):
    """Staff groups, read-only: ``migrate`` creates them (speechportal/support/groups.py)."""

    find_exact: ClassVar[list[str]] = []
    find_part = ("name",)
    list_display = ["name", "people"]
    fields = ["name", "permissions"]

    @admin.display(description=_("users"))
    def people(self, group: Group) -> int:
        return group.user_set.count()

    def find(self, request: HttpRequest, text: str) -> list[Group]:
        return []
