"""OpenAPI extensions for the portal's views and serializers: shared headers, errors and bodies."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from speechportal.api import idempotency
from speechportal.api.problems import MEDIA_TYPE
from speechportal.api.serializers import ItemParameters, Problem

DESCRIPTION = """
Everything the portal can do, for programs.

**Sign in** with a token of an account (portal: *API tokens*): `Authorization: Bearer spk_…`. A token has
scopes (`read`, `write`, `batches:read`, `batches:write`, …), belongs to one account, and acts with the
present role of the member who made it. What belongs to another account does not exist for it (404).

**Lists** come in pages: follow `next` until it is null. `page_size` is up to 200, `ordering` takes the
names that each list tells, and `fields=id,name` makes answers small. A parameter or a field that is not
known is refused.

**Errors** are problem details (RFC 9457, `application/problem+json`) with a stable `code`; `errors` lists
everything that is wrong at once. 400: the request cannot be read; 422: a field breaks a rule; 409: the
present state does not allow it; 403: a scope or role is missing.

**Repeat without fear.** Send an `Idempotency-Key` (a UUID, say) with a create or an action: sent again
within a day, the same request has no second effect and gets the same answer, marked
`Idempotency-Replayed: true`. The same key with another request is refused (422, `idempotency_key_reused`). A
request that was refused is not remembered. What takes no key (addresses for uploads, tests of connections,
publishing) can be repeated as it is.

**Edit without losing others' edits.** Answers carry an `ETag`; send it back as `If-Match`, and the edit is
refused (412) if somebody else was faster. Without `If-Match`, or with `*`, the last one wins. The ETag
stands for what can be edited: progress does not change it.

**Limits.** Each answer tells the limit per minute and token, and what is left of it, in `RateLimit-Policy`
and `RateLimit`; above it the answer is 429 with `Retry-After`. Every answer has an `X-Request-ID`, yours if
you send one.
"""

ERRORS = {
    "400": "The request cannot be read: a parameter or the JSON is wrong.",
    "401": "The token is missing, unknown, expired or revoked.",
    "403": "A scope or a role is missing, or the token may not be used from this address.",
    "404": "There is no such thing in this account.",
    "405": "This method is not for this address.",
    "406": "The answer cannot be given in the form asked for.",
    "409": "The present state does not allow it.",
    "412": "It was changed since the ETag in `If-Match`.",
    "413": "The body is larger than the portal takes.",
    "415": "The body is not of a type that is understood.",
    "422": "A field breaks a rule; `errors` lists all that do.",
    "429": "More requests than the token may make in a minute.",
    "502": "The storage did not do what was asked; the code tells why.",
}


class BearerToken(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call] # no types in the base class
    target_class = "speechportal.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "spk_…"}


class StrictInput(OpenApiSerializerExtension):  # type: ignore[no-untyped-call] # no types in the base class
    """Extension for request bodies: ``additionalProperties`` is false, as unknown fields are refused."""

    target_class = "speechportal.api.serializers.Input"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # type: ignore[no-untyped-call] # noqa: SLF001 - the documented way
        return {**_described(self.target, schema), "additionalProperties": False}


class SparseOutput(OpenApiSerializerExtension):  # type: ignore[no-untyped-call] # no types in the base class
    """Extension for response bodies: only the ID is required, as ``fields=`` can omit all others."""

    target_class = "speechportal.api.serializers.Output"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # type: ignore[no-untyped-call] # noqa: SLF001 - the documented way
        schema = _described(self.target, schema)
        if not getattr(self.target, "sparse", True):
            return schema
        certain = [name for name in schema.pop("required", []) if name == "id"]
        return {**schema, "required": certain} if certain else schema


def _described(target: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """Remove a description that is inherited from the base class."""
    kind = target if isinstance(target, type) else type(target)
    return schema if kind.__doc__ else {name: part for name, part in schema.items() if name != "description"}


class Description(AutoSchema):
    """Schema generator that adds a view's standard headers and errors."""

    view: Any  # An ApiView.

    def get_tags(self) -> list[str]:
        return [self.view.area]

    def get_operation_id(self) -> str:
        """Operation IDs such as ``batch_create``, which generated clients name their functions by."""
        return f"{self.view.basename}_{self.view.action}".replace("-", "_")

    def get_override_parameters(self) -> list[Any]:
        parameters: list[Any] = []
        if kind := self.view.parameter_classes.get(self.view.action):
            parameters.append(kind)
            if issubclass(kind, ItemParameters):
                parameters.append(self._fields_parameter())
        if idempotency.is_idempotent(self._handler()):
            parameters.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
                    OpenApiParameter.HEADER,
                    description="Sent again with the same request, it has no second effect.",
                )
            )
        if self.method in {"PATCH", "PUT", "DELETE"} and self.view.edits_match:
            parameters.append(
                OpenApiParameter(
                    "If-Match",
                    OpenApiTypes.STR,
                    OpenApiParameter.HEADER,
                    description="The ETag that you have read: refused (412) if it is no longer the one.",
                )
            )
        return parameters

    def _get_serializer_name(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> str:
        name: str = super()._get_serializer_name(serializer, direction, bypass_extensions)
        return name.removesuffix("Output") or name

    def _fields_parameter(self) -> OpenApiParameter:
        names = [name for name in self.view.output().fields if name != "id"]
        return OpenApiParameter(
            "fields",
            {"type": "array", "items": {"type": "string", "enum": names}, "minItems": 1},
            explode=False,
            description="Only these fields, separated by commas. The ID is always told.",
        )

    def _handler(self) -> Any:
        return getattr(self.view, self.view.action, None)

    def _get_pagination_parameters(self) -> list[Any]:
        return []  # The view's own query parameters include them.

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        for code in self._possible_errors():
            response = OpenApiResponse(Problem, description=ERRORS[code])
            described = self._get_response_for_code(response, code, [MEDIA_TYPE], direction)  # type: ignore[no-untyped-call] # likewise
            bodies.setdefault(code, described)
        return bodies

    def _possible_errors(self) -> list[str]:
        codes = ["400", "401", "403", "406", "429"]
        if "{" in self.path:
            codes.append("404")
        if self.method in {"POST", "PUT", "PATCH"}:
            codes += ["409", "413", "415", "422"]
        if self.method in {"PATCH", "PUT", "DELETE"}:
            codes += ["409", "412"]
        return sorted(set(codes) | set(self.view.more_errors.get(self.view.action, ())))


TAGS = {
    "batches": "Standing instructions: what appears in an input path is recognised; and execution results.",
    "tasks": "Input files, what was heard in them, and the result files.",
    "domains": "Recognition profiles and their keywords.",
    "connections": "Object storages that batches read from and write to.",
    "deliveries": "Webhooks and their messages.",
    "usage": "What was recognised and charged.",
    "account": "Limits and the budget.",
    "members": "Who works in the account, and who is invited. For owners.",
    "tokens": "API tokens.",
}


def complete(result: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
    """Post-processing hook for what drf-spectacular has no setting for."""
    result["info"]["description"] = DESCRIPTION.strip()
    result["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    return result
