"""Base view of the API: query parameters, pagination, responses, and edits under ``If-Match``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from speechportal.accounts.models import Account
from speechportal.api import problems
from speechportal.api.authentication import rate_headers, token_of
from speechportal.api.problems import InvalidParameters, Problem
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import Output, Parameters
from speechportal.platform.keyset import Column

M = TypeVar("M", bound=models.Model)
UID = "[a-z]{3}_[0-9a-z]{16}"


class ApiView(GenericViewSet[Any]):
    """Base view of one area.

    By action, ``parameter_classes`` has the serializer of the query parameters, and ``more_errors`` the
    additional status codes to document.
    """

    area: ClassVar[str]
    roles: ClassVar[tuple[str, ...] | None] = None  # None: every member
    output: ClassVar[type[Output]]
    parameter_classes: ClassVar[dict[str, type[Parameters]]] = {}
    more_errors: ClassVar[dict[str, tuple[str, ...]]] = {}
    default_ordering: ClassVar[str] = "-pk"
    # Orders by something else than the field of that name.
    order_columns: Mapping[str, Column] = MappingProxyType({})
    order_anchor: int | None = None  # see speechportal.platform.keyset.Ordering
    edits_match: ClassVar[bool] = False  # whether edits support If-Match
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    lookup_field = "uid"
    lookup_value_regex = UID
    request: ApiRequest
    parameters: dict[str, Any] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        # An unsupported method is refused with 405, whatever the query parameters.
        self.parameters = self._read_parameters(request) if self.action else {}

    def _read_parameters(self, request: Request) -> dict[str, Any]:
        kind = self.parameter_classes.get(self.action or "", Parameters)
        given = request.query_params.lists()
        # Not as a QueryDict, in which serializers treat an empty value as missing.
        serializer = kind(data={name: values if name in kind.lists else values[-1] for name, values in given})
        errors: dict[str, Any] = {
            name: [serializers.ErrorDetail(_("There is no such parameter."), code="unknown_parameter")]
            for name in request.query_params
            if name not in serializer.fields
        }
        if not serializer.is_valid():
            errors.update(serializer.errors)
        if errors:
            raise InvalidParameters(errors)
        return dict(serializer.validated_data)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        token = token_of(request)
        if token is not None and "RateLimit" not in response.headers:
            for name, value in rate_headers(token).items():
                response.headers[name] = value
        # Responses are private to the token: no cache on the way may store them.
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def address(self, instance: Any) -> str:
        """URL of a new object."""
        return reverse(f"api:{self.basename}-detail", args=[instance.uid])

    # --- Responses

    def wanted(self) -> list[str]:
        return [name for name in str(self.parameters.get("fields", "")).split(",") if name]

    def shown(self, instance: Any, output: type[Output] | None = None, **context: Any) -> Any:
        """Serialize an instance, or a list of them."""
        many = isinstance(instance, list | tuple)
        serializer = (output or self.output)(
            instance, many=many, context={"request": self.request, "wanted": self.wanted(), **context}
        )
        return serializer.data

    def answer(self, instance: Any, *, status: int = 200, location: str = "", **context: Any) -> Response:
        """Response with one object and its ETag, for edits under ``If-Match``."""
        response = Response(self.shown(instance, **context), status=status)
        response.headers["ETag"] = self.etag(instance, **context)
        if location:
            response.headers["Location"] = location
        return response

    def page(
        self, queryset: models.QuerySet[Any], context: Callable[[list[Any]], dict[str, Any]] | None = None
    ) -> Response:
        """Response with a page of the list; ``context`` loads related data for all of its rows at once."""
        rows = list(self.paginate_queryset(queryset) or [])
        more = context(rows) if context else {}
        return self.get_paginated_response(self.shown(rows, **more))

    def read(self, serializer: type[serializers.Serializer[Any]], **kwargs: Any) -> dict[str, Any]:
        """Validated data of the request body."""
        checked = serializer(data=self.request.data, context={"request": self.request}, **kwargs)
        checked.is_valid(raise_exception=True)
        return dict(checked.validated_data)

    def found(self, queryset: models.QuerySet[M], uid: str) -> M:
        return get_object_or_404(queryset, uid=uid)

    # --- Edits

    def etag(self, instance: Any, **context: Any) -> str:
        """ETag of the editable fields: progress and the like do not change it."""
        data = self.output(instance, context={"request": self.request, **context}).data
        return etag_of({name: value for name, value in data.items() if name not in self.output.passing})

    def under_match(
        self, find: Callable[[], M], change: Callable[[M], object], etag: Callable[[M], str] | None = None
    ) -> None:
        """Find an object, compare it with ``If-Match`` and change it, in one transaction.

        Locks the account's row, which services lock first, so that no other edit comes in between.
        """
        with transaction.atomic():
            Account.objects.select_for_update(no_key=True).get(pk=self.request.account.pk)
            instance = find()
            self.check_match(instance, etag)
            change(instance)

    def check_match(self, instance: M, etag: Callable[[M], str] | None = None) -> None:
        """Raise 412 if ``If-Match`` is for another version. ``instance`` should be locked."""
        wanted = self.request.headers.get("If-Match", "").strip()
        if not wanted or wanted == "*":
            return
        if (etag or self.etag)(instance) not in [each.strip() for each in wanted.split(",")]:
            sentence = _("It was changed meanwhile. Read it again and repeat your change.")
            raise Problem(412, "precondition_failed", sentence)


def etag_of(data: Any) -> str:
    return f'"{hashlib.sha256(JSONRenderer().render(data)).hexdigest()[:32]}"'


@csrf_exempt
def not_found(request: HttpRequest, *_args: Any, **_kwargs: Any) -> HttpResponse:
    return problems.not_found(request)
