"""Pages of members, invitations and the account's settings."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.forms import BaseUserCreationForm
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from speechportal.accounts import addresses, time_zones
from speechportal.accounts.access import View, member_required
from speechportal.accounts.forms import order_name_fields
from speechportal.accounts.members import invitations, memberships, two_factor_duty
from speechportal.accounts.members.invitations import Invitation
from speechportal.accounts.models import Account, Membership, User
from speechportal.accounts.requests import PortalRequest
from speechportal.accounts.services import account_locked, update_account
from speechportal.accounts.sign_in.backends import MEMBER_BACKEND
from speechportal.accounts.single_sign_on import session as company_session
from speechportal.platform.forms import submit
from speechportal.platform.versioned_forms import VersionedForm

OWNERS_ONLY = gettext_lazy("Only an owner of the account may do this.")
OWNER = Membership.Role.OWNER


def owner_required(view: View[...]) -> Any:
    """Decorator like ``member_required``, for owners: other members get 403."""

    def opened(request: PortalRequest, /, *args: Any, **kwargs: Any) -> Any:
        if request.membership.role != Membership.Role.OWNER:
            raise PermissionDenied(str(OWNERS_ONLY))
        return view(request, *args, **kwargs)

    return member_required(opened)


class InvitationForm(forms.ModelForm[Invitation]):
    class Meta:
        model = Invitation
        fields = ["email", "role"]
        help_texts = {
            "role": gettext_lazy(
                "Viewers read. Managers also change domains, connections and batches. Owners also decide"
                " about members and the budget."
            )
        }


class AccountForm(VersionedForm, forms.ModelForm[Account]):
    class Meta:
        model = Account
        fields = ["name", "monthly_budget", "time_zone", "two_factor_required", "single_sign_on_only"]

    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        choices=time_zones.choices,
        required=False,
        help_text=gettext_lazy("Months of usage and of the budget begin at midnight there."),
    )

    def clean_time_zone(self) -> str:
        """Keep the present value if the form has no such field."""
        return str(self.cleaned_data["time_zone"] or self.instance.time_zone)

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        if company_session.provider_of_account(self.instance) is None:
            del self.fields["single_sign_on_only"]

    def clean_two_factor_required(self) -> bool:
        """Only an owner who meets the requirement may turn it on."""
        wanted: bool = self.cleaned_data["two_factor_required"]
        assert isinstance(self.request.user, User)  # noqa: S101 - owners only
        if (
            wanted
            and not self.instance.two_factor_required
            and not two_factor_duty.fulfils(self.request.user)
        ):
            raise forms.ValidationError(_("Set up a second factor for yourself first."), code="untried")
        return wanted

    def clean_single_sign_on_only(self) -> bool:
        """Only an owner whose session would keep its access to the account may turn it on."""
        wanted: bool = self.cleaned_data["single_sign_on_only"]
        is_new = wanted and not self.instance.single_sign_on_only
        if is_new and not company_session.may_open(self.request, self.instance):
            raise forms.ValidationError(
                _("Sign in with your company’s account first, to see that it works for you."), code="untried"
            )
        return wanted


@member_required
def member_list(request: PortalRequest) -> HttpResponse:
    return _show_members(request, InvitationForm())


def _show_members(request: PortalRequest, form: InvitationForm, link: str = "") -> HttpResponse:
    open_ones = Invitation.objects.for_account(request.account).filter(accepted_at=None)
    own = Membership.objects.filter(account=request.account)
    context = {
        "form": form,
        "link": link,
        "members": two_factor_duty.with_state(own).select_related("user").order_by("pk"),
        "invitations": open_ones.select_related("invited_by"),
        "roles": Membership.Role.choices,
        "is_owner": request.membership.role == Membership.Role.OWNER,
        "tab": "members",
    }
    return render(request, "accounts/members.html", context)


@owner_required
@require_POST
def invite(request: PortalRequest) -> HttpResponse:
    """Invite a person. The link is shown once, and mailed if the portal can send mail."""
    form = InvitationForm(request.POST)
    made = submit(
        form,
        lambda: invitations.invite(account=request.account, by=request.user, **form.cleaned_data),
    )
    if made is None:
        return _show_members(request, form)
    invitation, token = made
    link = urljoin(settings.PUBLIC_URL, reverse("accept_invitation", args=[token]))
    if invitations.send(invitation, link):
        messages.success(request, _("The invitation was sent to %s.") % invitation.email)
        link = ""
    else:
        messages.success(request, _("%s is invited. Hand over the link below.") % invitation.email)
    return _show_members(request, InvitationForm(), link)


@owner_required
@require_POST
def withdraw(request: PortalRequest, uid: str) -> HttpResponse:
    open_ones = Invitation.objects.for_account(request.account).filter(accepted_at=None)
    invitation = get_object_or_404(open_ones, uid=uid)
    invitation.delete()
    messages.success(request, _("The invitation of %s was withdrawn.") % invitation.email)
    return redirect("account_members")


ROLES = {
    Membership.Role.OWNER: gettext_lazy(
        "Can do everything, also change and remove every member, you included, and set the budget."
    ),
    Membership.Role.MANAGER: gettext_lazy("Changes domains, connections, batches and API tokens."),
    Membership.Role.VIEWER: gettext_lazy("Reads, and changes nothing."),
}


@owner_required
def change_role(request: PortalRequest, pk: int) -> HttpResponse:
    """Page with the roles and their effects; a POST with ``role`` changes the role."""
    membership = _membership(request, pk)
    if request.method != "POST":
        context = {
            **_made_by(membership),
            "member": membership,
            "is_own": membership.user_id == request.user.pk,
            "roles": [(role.value, role.label, meaning) for role, meaning in ROLES.items()],
        }
        return render(request, "accounts/change_role.html", context)
    try:
        memberships.change_role(
            membership=membership,
            role=request.POST.get("role", ""),
            revoke_tokens="revoke_tokens" in request.POST,
        )
    except ValidationError as error:
        messages.error(request, error.messages[0])
    else:
        messages.success(request, _("The role of %s was changed.") % membership.user)
    is_owner_still = membership.user_id != request.user.pk or request.POST.get("role") == OWNER
    return redirect("account_members" if is_owner_still else "home")


def _made_by(membership: Membership) -> dict[str, Any]:
    """Context: the member's invitations and API tokens, which a lower role or a removal may end."""
    return {
        "invitations": list(memberships.open_invitations(membership)),
        "tokens": list(memberships.active_tokens(membership)),
    }


@owner_required
def remove(request: PortalRequest, pk: int) -> HttpResponse:
    """Remove a member, after a confirmation that lists the effects on their invitations and tokens."""
    membership = _membership(request, pk)
    if request.method == "POST":
        try:
            memberships.remove_member(membership=membership, revoke_tokens="revoke_tokens" in request.POST)
        except ValidationError as error:
            messages.error(request, error.messages[0])
        else:
            messages.success(request, _("%s is no member any more.") % membership.user)
        return redirect("account_members")
    context = {**_made_by(membership), "member": membership}
    return render(request, "accounts/remove_member.html", context)


def _membership(request: PortalRequest, pk: int) -> Membership:
    return get_object_or_404(Membership.objects.select_related("user"), account=request.account, pk=pk)


@owner_required
def account_settings(request: PortalRequest) -> HttpResponse:
    with account_locked(request.account):
        account = Account.objects.get(pk=request.account.pk)
        form = AccountForm(request.POST or None, instance=account, request=request)
        saved = submit(form, lambda: update_account(account=account, **form.cleaned_data))
    if saved is not None:
        messages.success(request, _("The settings of the account were saved."))
        return redirect("account_settings")
    context = {"form": form, "tab": "settings", "without_factor": list(two_factor_duty.missing(account))}
    return render(request, "accounts/settings.html", context)


class JoinForm(BaseUserCreationForm[User]):
    """Form for an invited person without a user: a password and an optional name."""

    class Meta:
        model = User
        fields = ["first_name", "last_name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        order_name_fields(self)


@sensitive_post_parameters()
def accept_invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Accept an invitation by its link, as the signed-in user or as a new one."""
    invitation = invitations.find(token)
    if invitation is None:
        return render(request, "accounts/invitation_closed.html", status=404)
    known = User.objects.filter(email=invitation.email).exists()
    if company_session.scope(request):
        raise PermissionDenied(company_session.SCOPED)
    signed_in = request.user if isinstance(request.user, User) else None
    form = JoinForm(request.POST or None) if signed_in is None and not known else None
    if request.method == "POST":
        user = signed_in
        if form is not None and form.is_valid():
            user = _new_user(invitation, form)
            if user is None:
                return redirect("accept_invitation", token)
            login(request, user, backend=MEMBER_BACKEND)
        if user is not None:
            try:
                invitations.accept(invitation=invitation, user=user)
            except ValidationError as error:
                messages.error(request, error.messages[0])
                return redirect("accept_invitation", token)
            messages.success(request, _("You are now a member of “%s”.") % invitation.account.name)
            return redirect(addresses.path(invitation.account.uid, "home"))
    context = {
        "invitation": invitation,
        "form": form,
        "known": known,
        "fits": signed_in is not None and signed_in.email == invitation.email,
        "role": Membership.Role(invitation.role).label,
    }
    return render(request, "accounts/invitation.html", context)


def _new_user(invitation: Invitation, form: JoinForm) -> User | None:
    """Create the invited user; ``None`` if a concurrent request has accepted the invitation."""
    try:
        with transaction.atomic():
            return User.objects.create_user(
                invitation.email, form.cleaned_data["password1"], **_names(form.cleaned_data)
            )
    except IntegrityError:
        return None


def _names(cleaned: dict[str, Any]) -> dict[str, str]:
    return {name: cleaned.get(name, "") for name in ("first_name", "last_name")}
