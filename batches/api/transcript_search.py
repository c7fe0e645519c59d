"""REST endpoint of the transcript search: files, each with its best matching lines."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response

from batches.api.serializers import Reference
from batches.formats.context import default_speaker_name
from batches.transcripts import search
from batches.transcripts.search_filter import SearchFilter
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import ListParameters, Output
from speechportal.api.views import ApiView


class TranscriptSearchParameters(ListParameters):
    text = serializers.CharField(
        required=False,
        max_length=1000,
        help_text="Words that were said, or parts of the file's name: all must occur. A phrase stands in"
        " quotation marks; a minus sign in front excludes a word or a phrase.",
    )
    batch = serializers.CharField(required=False, max_length=40, help_text="The ID of a batch.")
    domain = serializers.CharField(required=False, max_length=40, help_text="The ID of a domain.")
    speaker = serializers.CharField(
        required=False,
        max_length=100,
        help_text="Part of a name that a member gave to a speaker: this speaker must have said the words.",
    )
    language = serializers.CharField(
        required=False, max_length=20, help_text="The code of the language that was recognised: `ko`."
    )
    since = serializers.DateField(required=False, help_text="Completed on this day or later.")
    until = serializers.DateField(required=False, help_text="Completed on this day or earlier.")


class FoundLineOutput(serializers.Serializer[Any]):
    """A line of a transcript that matches the query."""

    start = serializers.IntegerField(help_text="In milliseconds.")
    speaker = serializers.CharField(help_text="The label, as in `speakers`; empty without speakers.")
    speaker_name = serializers.CharField(help_text="As a member named it, else a letter.")
    text = serializers.CharField(help_text="As corrected.")


class FoundTranscriptOutput(Output):
    """A matching file, with the best of its matching lines."""

    id = serializers.CharField(source="task.uid", help_text="The task's ID.")
    name = serializers.CharField(source="task.name")
    batch = Reference(source="task.batch")
    language = serializers.CharField(help_text="The code of the language that was recognised.")
    finished_at = serializers.DateTimeField(source="task.finished_at", allow_null=True)
    hits = serializers.IntegerField(source="count", help_text="Number of matching lines.")
    in_name = serializers.BooleanField(
        source="is_named", help_text="Whether words of the query are in the file's name."
    )
    lines = serializers.SerializerMethodField(help_text=f"At most {search.HIT_LIMIT}.")

    @extend_schema_field(FoundLineOutput(many=True))
    def get_lines(self, found: search.Found) -> list[dict[str, Any]]:
        names = found.speaker_names
        return [
            {
                "start": hit.start,
                "speaker": hit.speaker,
                "speaker_name": (names.get(hit.speaker) or default_speaker_name(hit.speaker))
                if hit.speaker
                else "",
                "text": hit.text,
            }
            for hit in found.hits
        ]


class TranscriptSearchView(ApiView):
    """The transcripts of the account."""

    area = "tasks"
    output = FoundTranscriptOutput
    parameter_classes = {"list": TranscriptSearchParameters}

    @extend_schema(responses=FoundTranscriptOutput(many=True), summary="Search the transcripts")
    def list(self, request: ApiRequest) -> Response:
        """Lists matches by file, the newest first; without `text` and filters, all transcripts."""
        asked = self.parameters
        text = asked.get("text", "")
        chosen = SearchFilter.from_query({name: str(value) for name, value in asked.items()})
        if "text" in asked or not chosen.is_empty:
            tasks = search.matching(request.account, text, chosen)
        else:
            tasks = search.with_transcript(request.account)
        rows = self.paginate_queryset(search.shown_rows(tasks)) or []
        found = [search.lines_of(task, text, chosen) for task in rows]
        return self.get_paginated_response(self.shown(found))
