"""REST endpoint of file formats, for results and downloads."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from batches.formats import FORMATS
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import Output
from speechportal.api.views import ApiView


class FormatOutput(Output):
    """A file format."""

    sparse = False

    name = serializers.CharField(help_text="For the `formats` of a batch and `/tasks/{id}/results/{name}`.")
    title = serializers.CharField(source="label", help_text="For people, in English.")
    media_type = serializers.CharField()
    extension = serializers.CharField(help_text="With its dot.")


class FormatView(ApiView):
    """File formats."""

    area = "tasks"
    output = FormatOutput
    pagination_class = None

    @extend_schema(responses=FormatOutput(many=True), summary="List the file formats")
    def list(self, request: ApiRequest) -> Response:
        """Lists all formats of this installation. New releases may add formats."""
        rows: Any = list(FORMATS.values())
        return Response(self.shown(rows))
