"""REST endpoints of usage, charges, and the account's limits and budget."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from batches.api.serializers import Reference
from batches.billing import budget
from batches.billing.selectors import charges_by_month
from batches.models import Charge
from batches.services import selectors
from batches.services import tasks as task_services
from speechportal.accounts.models import Membership
from speechportal.accounts.services import update_account
from speechportal.api.fields import StrictCharField
from speechportal.api.problems import Problem
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import Input, ListParameters, Number, Output, Parameters
from speechportal.api.views import ApiView


class MonthOutput(Output):
    """All charges of a month in one currency."""

    sparse = False

    month = serializers.SerializerMethodField(help_text="In the account's time zone: `2026-11`.")
    currency = serializers.CharField()
    files = serializers.IntegerField()
    duration = serializers.IntegerField(help_text="In milliseconds.")
    amount = serializers.DecimalField(max_digits=20, decimal_places=4, help_text="As text, to stay exact.")

    def get_month(self, row: Any) -> str:
        return f"{row['month']:%Y-%m}"


class ChargeOutput(Output):
    """The charge for one recognised input file. It never changes."""

    id = serializers.CharField(source="uid", help_text="Begins with `chg_`.")
    batch = Reference()
    task = serializers.CharField(source="task.uid", help_text="Its ID.")
    batch_name = serializers.CharField(help_text="On the day of the charge, like what follows.")
    domain_code = serializers.CharField()
    input_name = serializers.CharField()
    whisper_model = serializers.CharField()
    speaker_model = serializers.CharField()
    media_duration = serializers.IntegerField(help_text="In milliseconds.")
    amount = serializers.DecimalField(max_digits=12, decimal_places=4, help_text="As text, to stay exact.")
    currency = serializers.CharField()
    created_at = serializers.DateTimeField()


class ChargeList(ListParameters):
    orderings = ("created_at",)
    batch = serializers.CharField(required=False, help_text="The ID of a batch.")
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)


class UsageView(ApiView):
    """Recognised files and charges by month."""

    area = "usage"
    output = MonthOutput
    pagination_class = None

    @extend_schema(responses=MonthOutput(many=True), summary="List usage by month")
    def list(self, request: ApiRequest) -> Response:
        """Lists the months, newest first, with a row for each currency."""
        return Response(self.shown(charges_by_month(request.account)))


class ChargeView(ApiView):
    """Charges, one for each recognised file."""

    area = "usage"
    output = ChargeOutput
    parameter_classes = {"list": ChargeList}

    @extend_schema(responses=ChargeOutput(many=True), summary="List charges")
    def list(self, request: ApiRequest) -> Response:
        asked = self.parameters
        conditions = {
            "batch": selectors.batch_with(request.account, asked.get("batch")),
            "created_at__gte": asked.get("created_after"),
            "created_at__lt": asked.get("created_before"),
        }
        charges = Charge.objects.for_account(request.account).select_related("batch", "task")
        return self.page(charges.filter(**{name: value for name, value in conditions.items() if value}))


class AccountOutput(Output):
    """The account that the token belongs to."""

    sparse = False

    id = serializers.CharField(source="uid", help_text="Begins with `acc_`.")
    name = serializers.CharField()
    batch_limit = serializers.IntegerField(help_text="How many batches it may have at once.")
    batches = serializers.SerializerMethodField(help_text="How many it has.")
    price_per_file = serializers.DecimalField(max_digits=12, decimal_places=4)
    currency = serializers.CharField()
    time_zone = serializers.CharField(help_text="Months of usage and of the budget begin at its midnight.")
    monthly_budget = serializers.DecimalField(max_digits=12, decimal_places=2, allow_null=True)
    spent_this_month = serializers.SerializerMethodField(
        help_text="In the account's month, including the reserved cost of tasks in progress."
    )
    budget_left = serializers.SerializerMethodField()
    suspended_at = serializers.DateTimeField(allow_null=True)

    def get_batches(self, account: Any) -> int:
        return selectors.count_batches(account)

    def get_spent_this_month(self, account: Any) -> str:
        return str(budget.spent(account))

    def get_budget_left(self, account: Any) -> str | None:
        left = budget.left(account)
        return None if left is None else str(left)


class AccountInput(Input):
    name = StrictCharField(max_length=100)
    time_zone = StrictCharField(max_length=64, help_text="A name of the IANA database, as `Asia/Seoul`.")
    monthly_budget = serializers.DecimalField(
        max_digits=12,
        decimal_places=2,
        min_value=Decimal(0),
        allow_null=True,
        help_text="What may be charged in a month of the account's time zone; null: no limit. As text.",
    )


class EstimateParameters(Parameters):
    files = Number(min_value=1, max_value=1_000_000_000, default=1)


class EstimateOutput(serializers.Serializer[Any]):
    """The estimated cost of a number of files."""

    files = serializers.IntegerField()
    amount = serializers.DecimalField(max_digits=24, decimal_places=4)
    currency = serializers.CharField()
    budget_left = serializers.DecimalField(max_digits=16, decimal_places=4, allow_null=True)
    fits = serializers.BooleanField(help_text="Whether they are within the budget.")


class AccountView(ApiView):
    """The account's limits and its budget."""

    area = "account"
    output = AccountOutput
    pagination_class = None
    parameter_classes = {"estimate": EstimateParameters}

    @extend_schema(responses=AccountOutput, summary="Read the account")
    def retrieve(self, request: ApiRequest) -> Response:
        return Response(self.shown(request.account))

    @extend_schema(request=AccountInput, responses=AccountOutput, summary="Change the account")
    def partial_update(self, request: ApiRequest) -> Response:
        """Changes name, time zone and budget, for owners. Once the budget is reached no task starts.

        Tasks start again next month, or when the budget is raised.
        """
        if request.membership.role != Membership.Role.OWNER:
            raise Problem(403, "role_missing", _("Only an owner of the account may do this."))
        fields = self.read(AccountInput, partial=True)
        return Response(self.shown(update_account(account=request.account, **fields)))

    @extend_schema(responses=EstimateOutput, summary="Estimate a cost")
    @action(detail=False)
    def estimate(self, request: ApiRequest) -> Response:
        estimate = task_services.estimate(account=request.account, files=self.parameters["files"])
        return Response(EstimateOutput(estimate).data)
