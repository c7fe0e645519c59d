"""REST endpoints of connections, generated from the storage kinds' parameters. Secrets are write-only."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from speechportal.api.fields import Choice, StrictCharField
from speechportal.api.idempotency import idempotent
from speechportal.api.permissions import managers_only
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import Input, ItemParameters, ListParameters, Output, Parameters
from speechportal.api.views import ApiView
from speechportal.storage import browsing, kinds, notification_links, services
from speechportal.storage.backends.kind import Parameter
from speechportal.storage.errors import InvalidKey
from speechportal.storage.models import Connection

S3_EXAMPLE = {
    "name": "Recordings",
    "provider": "ncp_vpc",
    "region": "kr-standard",
    "bucket": "recordings",
    "access_key": "0123456789ABCDEF",
    "secret": "…",
}


def _entered(parameter: Parameter) -> serializers.Field[Any, Any, Any, Any]:
    """Request field of a parameter. It is optional here: the kind checks which are required."""
    help_text = str(parameter.help_text)
    if parameter.secret:
        help_text = "Kept encrypted and never shown. Left out or empty, the present one stays."
    shared: dict[str, Any] = {
        "required": False,
        "allow_blank": True,
        "write_only": parameter.secret,
        "help_text": f"{help_text} For: {', '.join(kinds.kinds_with(parameter.name))}.".strip(),
    }
    if parameter.choices:
        return Choice(list(parameter.choices), **shared)
    return StrictCharField(max_length=parameter.max_length, **shared)


class ConnectionChange(Input):
    name = StrictCharField(max_length=100)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return super().get_fields() | {name: _entered(each) for name, each in kinds.PARAMETERS.items()}


class ConnectionInput(ConnectionChange):
    provider = Choice(kinds.choices(), help_text="It cannot be changed later.")


class ParameterField(serializers.CharField):
    """Response field of a parameter, as members see it; empty if the kind has no such parameter."""

    def __init__(self, parameter: Parameter, **kwargs: Any) -> None:
        self.parameter = parameter
        super().__init__(
            source="*",
            read_only=True,
            allow_null=parameter.confidential,
            help_text=str(parameter.help_text),
            **kwargs,
        )

    def to_representation(self, connection: Connection) -> str | None:  # type: ignore[override] # source is "*"
        if self.parameter.confidential and not self.context["request"].membership.can_change:
            return None
        return connection.kind.for_member(connection.parameters, connection.owner).get(
            self.parameter.name, ""
        )


class ConnectionOutput(Output):
    """A storage: a bucket, a path in it, a folder of the portal's machine, or another kind."""

    passing = frozenset({"last_ok_at", "last_error"})

    id = serializers.CharField(source="uid", help_text="Begins with `con_`.")
    name = serializers.CharField()
    provider = serializers.ChoiceField(kinds.choices())
    last_ok_at = serializers.DateTimeField(allow_null=True, help_text="When a test last went well.")
    last_error = serializers.CharField(help_text="What the last test found wrong.")
    notification_url = serializers.SerializerMethodField(
        help_text="Where the storage's service may send notifications of new files; null for viewers."
    )
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_notification_url(self, connection: Connection) -> str | None:
        if not self.context["request"].membership.can_change:
            return None
        return notification_links.address(connection)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        shown = {name: each for name, each in kinds.PARAMETERS.items() if not each.secret}
        return super().get_fields() | {name: ParameterField(each) for name, each in shown.items()}


class ConnectionList(ListParameters):
    orderings = ("name", "created_at")
    provider = serializers.ChoiceField(kinds.choices(), required=False)


class BrowseParameters(Parameters):
    path = serializers.CharField(
        required=False, max_length=900, help_text="A folder below the root; left out, the root."
    )


class PathInput(Input):
    path = StrictCharField(max_length=900, required=False, allow_blank=True, help_text="The folder to try.")


class FindingOutput(serializers.Serializer[Any]):
    """The result of one step of the test."""

    action = serializers.CharField(help_text="`list`, `write`, `read`, `move` or `delete`.")
    ok = serializers.BooleanField()
    code = serializers.CharField(source="error.code", default=None, allow_null=True)
    message = serializers.CharField(allow_blank=True)


class FolderOutput(serializers.Serializer[Any]):
    path = serializers.CharField()
    name = serializers.CharField()


class FileOutput(serializers.Serializer[Any]):
    key = serializers.CharField()
    size = serializers.IntegerField(help_text="In bytes.")
    modified = serializers.DateTimeField()


class LevelOutput(serializers.Serializer[Any]):
    """The entries directly in a folder."""

    path = serializers.CharField(allow_blank=True)
    folders = FolderOutput(many=True)
    files = FileOutput(many=True)
    has_more = serializers.BooleanField(help_text="Whether only the first entries are told.")


class FolderInput(Input):
    above = StrictCharField(max_length=900, required=False, allow_blank=True, help_text="Left out, the root.")
    name = StrictCharField(max_length=200)


class ConnectionView(ApiView):
    """Object storages that batches read from and write to."""

    area = "connections"
    output = ConnectionOutput
    edits_match = True
    default_ordering = "name"
    parameter_classes = {"list": ConnectionList, "retrieve": ItemParameters, "browse": BrowseParameters}
    more_errors = {"browse": ("422", "502"), "folders": ("502",)}

    def connections(self) -> QuerySet[Connection]:
        return Connection.objects.for_account(self.request.account).select_related("account")

    def connection(self) -> Connection:
        return self.found(self.connections(), self.kwargs["uid"])

    @extend_schema(responses=ConnectionOutput(many=True), summary="List connections")
    def list(self, request: ApiRequest) -> Response:
        found = self.connections()
        if provider := self.parameters.get("provider"):
            found = found.filter(provider=provider)
        return self.page(found)

    @extend_schema(
        request=ConnectionInput,
        responses={201: ConnectionOutput},
        examples=[
            OpenApiExample("A bucket", S3_EXAMPLE, request_only=True),
            OpenApiExample(
                "A folder",
                {"name": "Here", "provider": "local", "local_folder": "calls"},
                request_only=True,
            ),
        ],
        summary="Create a connection",
    )
    @idempotent
    def create(self, request: ApiRequest) -> Response:
        """Does not contact the storage: test the connection afterwards."""
        fields = self.read(ConnectionInput)
        head = {name: fields.pop(name) for name in ("name", "provider")}
        fields = head | services.from_member(request.account, head["provider"], fields)
        created = services.create_connection(account=request.account, **fields)
        return self.answer(
            self.found(self.connections(), created.uid), status=201, location=self.address(created)
        )

    @extend_schema(responses=ConnectionOutput, summary="Read a connection")
    def retrieve(self, request: ApiRequest, uid: str) -> Response:
        return self.answer(self.connection())

    @extend_schema(request=ConnectionChange, responses=ConnectionOutput, summary="Change a connection")
    def partial_update(self, request: ApiRequest, uid: str) -> Response:
        connection, fields = self.connection(), self.read(ConnectionChange, partial=True)
        head = {"name": fields.pop("name")} if "name" in fields else {}
        fields = head | services.from_member(request.account, connection.provider, fields, connection)
        self.under_match(self.connection, lambda one: services.update_connection(connection=one, **fields))
        return self.answer(self.connection())

    @extend_schema(responses={204: None}, summary="Delete a connection")
    def destroy(self, request: ApiRequest, uid: str) -> Response:
        """The files stay. Not while a batch uses it (409, `connection_in_use`)."""
        self.under_match(self.connection, lambda one: services.delete_connection(connection=one))
        return Response(status=204)

    @extend_schema(request=None, responses=ConnectionOutput, summary="Make a new notification address")
    @action(detail=True, methods=["post"], url_path="new-notification-url", pagination_class=None)
    def new_notification_url(self, request: ApiRequest, uid: str) -> Response:
        """Notifications to the earlier address are refused from then on."""
        services.renew_notification_address(connection=self.connection())
        return self.answer(self.connection())

    @extend_schema(request=PathInput, responses={200: FindingOutput(many=True)}, summary="Test a connection")
    @action(detail=True, methods=["post"], pagination_class=None)
    def test(self, request: ApiRequest, uid: str) -> Response:
        """Tests all operations of the portal with a small file, up to the first error."""
        connection, fields = self.connection(), self.read(PathInput)
        path = _folder(fields.get("path", ""))
        findings = services.check_connection(connection=connection, path=path)
        return Response(FindingOutput(findings, many=True).data)

    @extend_schema(responses={200: LevelOutput}, summary="Look into a folder")
    @action(detail=True, pagination_class=None)
    def browse(self, request: ApiRequest, uid: str) -> Response:
        """For owners and managers, as on the pages."""
        managers_only(request)
        try:
            level = browsing.look(self.connection(), self.parameters.get("path", ""))
        except InvalidKey as error:
            raise ValidationError({"path": ValidationError(str(error), code=error.code)}) from error
        folders = [{"path": path, "name": name} for path, name in level.folders]
        shown = {"path": level.path, "folders": folders, "files": level.files, "has_more": level.has_more}
        return Response(LevelOutput(shown).data)

    @extend_schema(request=FolderInput, responses={201: FolderOutput}, summary="Make a folder")
    @action(detail=True, methods=["post"], pagination_class=None)
    def folders(self, request: ApiRequest, uid: str) -> Response:
        """Creates a folder. An existing one stays as it is."""
        connection, fields = self.connection(), self.read(FolderInput)
        try:
            path = browsing.create_folder(connection, fields.get("above", ""), fields["name"])
        except InvalidKey as error:
            raise ValidationError({"name": ValidationError(str(error), code=error.code)}) from error
        return Response(FolderOutput({"path": path, "name": fields["name"].strip()}).data, status=201)


def _folder(path: str) -> str:
    return browsing.empty(path).path
