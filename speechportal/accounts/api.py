"""REST endpoints of members, invitations and API tokens."""

from __future__ import annotations

from urllib.parse import urljoin

from django.conf import settings
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from speechportal.accounts.members import invitations, memberships, two_factor_duty
from speechportal.accounts.members.invitations import Invitation
from speechportal.accounts.models import ApiToken, Membership
from speechportal.accounts.tokens import api_tokens, scopes
from speechportal.api.fields import Choice, StrictCharField
from speechportal.api.idempotency import idempotent
from speechportal.api.problems import Problem
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import Input, ItemParameters, ListParameters, Output, Parameters, YesOrNo
from speechportal.api.views import ApiView

SCOPE_CHOICES = [(scope, scope) for scope in scopes.SCOPES]


class TokenInput(Input):
    name = StrictCharField(max_length=100, help_text="What uses it, so that you know it again.")
    scopes = serializers.ListField(
        child=Choice(SCOPE_CHOICES),
        min_length=1,
        help_text="No more than the token has that makes it.",
    )
    allowed_addresses = serializers.ListField(
        child=StrictCharField(),
        required=False,
        help_text="Addresses and networks that it may be used from: `192.0.2.0/24`.",
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class TokenOutput(Output):
    """A token, without its secret part."""

    passing = frozenset({"last_used_at"})

    id = serializers.CharField(source="uid", help_text="Begins with `tok_`.")
    name = serializers.CharField()
    start = serializers.CharField(help_text="The part of it that may be shown.")
    scopes = serializers.ListField(child=serializers.CharField())
    allowed_addresses = serializers.ListField(child=serializers.CharField())
    created_by = serializers.CharField(source="created_by.email")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    active = serializers.BooleanField(source="is_active")


class NewTokenOutput(TokenOutput):
    """A new token, with its plain text, which is shown once."""

    token = serializers.CharField(
        source="plain", help_text="The token itself. It is nowhere kept and never told again."
    )


class TokenList(ListParameters):
    orderings = ("created_at", "name")
    active = YesOrNo(required=False)


class TokenView(ApiView):
    """API tokens of the account."""

    area = "tokens"
    output = TokenOutput
    parameter_classes = {"list": TokenList, "retrieve": ItemParameters}

    def tokens(self) -> QuerySet[ApiToken]:
        return ApiToken.objects.for_account(self.request.account).select_related("created_by")

    def token(self) -> ApiToken:
        return self.found(self.tokens(), self.kwargs["uid"])

    @extend_schema(responses=TokenOutput(many=True), summary="List API tokens")
    def list(self, request: ApiRequest) -> Response:
        wanted = self.parameters.get("active")
        found = self.tokens()
        if wanted is not None:
            active = api_tokens.active(found)
            found = active if wanted else found.exclude(pk__in=active.values("pk"))
        return self.page(found)

    @extend_schema(
        request=TokenInput,
        responses={201: NewTokenOutput},
        examples=[
            OpenApiExample(
                "For an uploader",
                {"name": "Uploader", "scopes": ["batches:write", "tasks:read"]},
                request_only=True,
            )
        ],
        summary="Create an API token",
    )
    @idempotent
    def create(self, request: ApiRequest) -> Response:
        """It belongs to the account and acts for the same member as the token that makes it."""
        fields = self.read(TokenInput)
        if (exceeded := api_tokens.exceeds(request.auth, **fields)) is not None:
            raise Problem(403, *exceeded)
        token, plain = api_tokens.create_token(account=request.account, created_by=request.user, **fields)
        token.plain = plain  # type: ignore[attr-defined] # for this response only
        data = NewTokenOutput(token).data
        return Response(data, status=201, headers={"Location": self.address(token)})

    @extend_schema(responses=TokenOutput, summary="Read an API token")
    def retrieve(self, request: ApiRequest, uid: str) -> Response:
        return self.answer(self.token())

    @extend_schema(responses={204: None}, summary="Revoke an API token")
    def destroy(self, request: ApiRequest, uid: str) -> Response:
        """The token stops working at once. It stays in the list."""
        api_tokens.revoke_token(token=self.token())
        return Response(status=204)


class MemberInput(Input):
    role = Choice(Membership.Role.choices)


class MemberOutput(Output):
    """A user and their role in the account."""

    id = serializers.IntegerField(source="pk")
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.get_full_name")
    role = serializers.ChoiceField(Membership.Role.choices)
    two_factor = serializers.BooleanField(
        source="has_second_factor", help_text="Whether the member fulfils a two-factor duty of the account."
    )
    created_at = serializers.DateTimeField(help_text="A member since.")


class MemberList(ListParameters):
    orderings = ("created_at",)
    role = serializers.ChoiceField(Membership.Role.choices, required=False)
    email = serializers.CharField(required=False, help_text="Exactly this address, capitals aside.")


class MemberParameters(Parameters):
    revoke_tokens = YesOrNo(
        required=False,
        default=False,
        help_text="Whether the API tokens that they made are revoked, if the role is lowered or ends.",
    )


class MemberView(ApiView):
    """Members of the account. For owners."""

    area = "members"
    roles = (Membership.Role.OWNER,)
    output = MemberOutput
    edits_match = True
    default_ordering = "created_at"
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[1-9][0-9]{0,17}"
    parameter_classes = {
        "list": MemberList,
        "retrieve": ItemParameters,
        "partial_update": MemberParameters,
        "destroy": MemberParameters,
    }

    def members(self) -> QuerySet[Membership]:
        own = Membership.objects.filter(account=self.request.account)
        return two_factor_duty.with_state(own).select_related("user")

    def member(self) -> Membership:
        return get_object_or_404(self.members(), pk=self.kwargs["id"])

    @extend_schema(responses=MemberOutput(many=True), summary="List members")
    def list(self, request: ApiRequest) -> Response:
        asked, found = self.parameters, self.members()
        if role := asked.get("role"):
            found = found.filter(role=role)
        if email := asked.get("email"):
            found = found.filter(user__email__iexact=email)
        return self.page(found)

    @extend_schema(responses=MemberOutput, summary="Read a member")
    def retrieve(self, request: ApiRequest, id: str) -> Response:  # noqa: A002 - the address calls it so
        return self.answer(self.member())

    @extend_schema(request=MemberInput, responses=MemberOutput, summary="Change a member's role")
    def partial_update(self, request: ApiRequest, id: str) -> Response:  # noqa: A002 - likewise
        """The last owner stays owner (409, `last_owner`). A lower role withdraws their open invitations."""
        fields = self.read(MemberInput)
        revoke = self.parameters["revoke_tokens"]
        self.under_match(
            self.member,
            lambda one: memberships.change_role(membership=one, revoke_tokens=revoke, **fields),
        )
        return self.answer(self.member())

    @extend_schema(responses={204: None}, summary="Remove a member")
    def destroy(self, request: ApiRequest, id: str) -> Response:  # noqa: A002 - likewise
        """They see nothing of the account from now on, and their tokens for it stop working.

        Their open invitations are withdrawn.
        """
        revoke = self.parameters["revoke_tokens"]
        self.under_match(
            self.member, lambda one: memberships.remove_member(membership=one, revoke_tokens=revoke)
        )
        return Response(status=204)


class InvitationInput(Input):
    email = StrictCharField(
        max_length=254, validators=[validate_email], help_text="Only who has this address can accept."
    )
    role = Choice(Membership.Role.choices)


class InvitationOutput(Output):
    """An invitation to join the account."""

    id = serializers.CharField(source="uid", help_text="Begins with `inv_`.")
    email = serializers.EmailField()
    role = serializers.ChoiceField(Membership.Role.choices)
    invited_by = serializers.CharField(source="invited_by.email", allow_null=True, default=None)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class NewInvitationOutput(InvitationOutput):
    """A new invitation, with its link."""

    link = serializers.CharField(
        allow_null=True,
        help_text="Where to accept it; null if it was mailed, and so is known to its address alone.",
    )


class InvitationList(ListParameters):
    orderings = ("created_at",)


class InvitationView(ApiView):
    """Invitations to the account. For owners."""

    area = "members"
    roles = (Membership.Role.OWNER,)
    output = InvitationOutput
    parameter_classes = {"list": InvitationList}

    def invitations(self) -> QuerySet[Invitation]:
        waiting = Invitation.objects.for_account(self.request.account).filter(accepted_at=None)
        return waiting.select_related("invited_by")

    @extend_schema(responses=InvitationOutput(many=True), summary="List invitations")
    def list(self, request: ApiRequest) -> Response:
        """Invitations that are not accepted yet."""
        return self.page(self.invitations())

    @extend_schema(
        request=InvitationInput,
        responses={201: NewInvitationOutput},
        examples=[
            OpenApiExample("A viewer", {"email": "kim@example.com", "role": "viewer"}, request_only=True)
        ],
        summary="Invite somebody",
    )
    @idempotent
    def create(self, request: ApiRequest) -> Response:
        """The link works once, for a week. Where the portal can send mail it goes to the address alone."""
        fields = self.read(InvitationInput)
        made, token = invitations.invite(account=request.account, by=request.user, **fields)
        link = urljoin(settings.PUBLIC_URL, reverse("accept_invitation", args=[token]))
        is_mailed = invitations.is_mailed()
        if is_mailed:
            transaction.on_commit(lambda: invitations.send(made, link))
        made.link = None if is_mailed else link  # type: ignore[attr-defined] # for this response only
        return Response(NewInvitationOutput(made).data, status=201)

    @extend_schema(responses={204: None}, summary="Withdraw an invitation")
    def destroy(self, request: ApiRequest, uid: str) -> Response:
        self.found(self.invitations(), uid).delete()
        return Response(status=204)
