"""Views that read and write files by pre-signed URLs, for storages that have no such URLs of their own."""

from __future__ import annotations

import mimetypes
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header, http_date
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from speechportal.outbound import web_budget
from speechportal.platform.request_bodies import STREAMED, BodyTooSlow
from speechportal.storage import local_file_links
from speechportal.storage.backends.base import CHUNK, CONTENT_TYPE, ObjectStore, StoredFile
from speechportal.storage.errors import NotFound, StorageBusy, StorageError
from speechportal.storage.models import Connection

# Stored files must not run scripts in the portal's origin.
POLICY = "default-src 'none'; sandbox"
RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")
EXTRA_TYPES = {
    ".m4a": "audio/mp4",
    ".opus": "audio/ogg",
    ".oga": "audio/ogg",
    ".flac": "audio/flac",
    ".mkv": "video/x-matroska",
    ".amr": "audio/amr",
    ".wma": "audio/x-ms-wma",
    ".aac": "audio/aac",
}


@csrf_exempt  # Authorised by the signature alone; cookies are ignored.
@require_http_methods(["GET", "HEAD", "PUT"])
def file(request: HttpRequest, token: str) -> HttpResponseBase:
    link = local_file_links.read(token)
    connection = Connection.unscoped.filter(uid=link.connection).first() if link else None
    if link is None or connection is None or not connection.kind.serves_links:
        raise Http404
    wanted = "put" if request.method == "PUT" else "get"
    if link.method != wanted or connection.account.suspended_at is not None:
        raise Http404
    web_budget.name_account(connection.account.uid)
    try:
        store = connection.store()
        if wanted == "put":
            return _write(request, store, link.key)
        return _read(request, store, link)
    except NotFound as error:
        raise Http404 from error
    except StorageError as error:
        headers = {"Retry-After": "5"} if isinstance(error, StorageBusy) else {}
        return HttpResponse(str(error), content_type="text/plain; charset=utf-8", status=503, headers=headers)


def content_type_of(key: str) -> str:
    """Content type by file name extension; anything but audio, images and video is binary."""
    guessed = EXTRA_TYPES.get(Path(key).suffix.lower()) or mimetypes.guess_type(key)[0] or CONTENT_TYPE
    return guessed if guessed.startswith(("audio/", "video/")) else CONTENT_TYPE


def _read(request: HttpRequest, store: ObjectStore, link: local_file_links.Link) -> HttpResponseBase:
    found = store.stat(link.key)
    if found is None:
        raise NotFound(link.key)
    start, end = _range(request, found.size)
    response: HttpResponseBase
    if start >= end and (start, end) != (0, found.size):
        response = HttpResponse(status=416)
        response["Content-Range"] = f"bytes */{found.size}"
        return response
    if request.method == "HEAD":
        response = HttpResponse()
    else:
        stream = store.open(link.key)
        stream.seek(start)
        response = StreamingHttpResponse(_chunks(stream, end - start))
    partial = (start, end) != (0, found.size)
    if partial:
        response.status_code = 206
        response["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    _describe(response, found, link, end - start)
    return response


def _range(request: HttpRequest, size: int) -> tuple[int, int]:
    """Requested byte range as [start, end). Several or invalid ranges mean the whole file (RFC 9110)."""
    match = RANGE.match(request.headers.get("Range", ""))
    if match is None or match.group(0) == "bytes=-":
        return 0, size
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    end = min(int(last) + 1, size) if last else size
    return int(first), end


def _describe(
    response: HttpResponseBase, found: StoredFile, link: local_file_links.Link, length: int
) -> None:
    content_type = content_type_of(link.key)
    name = link.filename or Path(link.key).name
    attachment = link.filename is not None or content_type == CONTENT_TYPE
    response["Content-Type"] = content_type
    response["Content-Length"] = str(length)
    response["Accept-Ranges"] = "bytes"
    response["Last-Modified"] = http_date(found.modified.timestamp())
    response["Cache-Control"] = "private, no-store"
    response["Content-Security-Policy"] = POLICY
    response["X-Content-Type-Options"] = "nosniff"
    if disposition := content_disposition_header(as_attachment=attachment, filename=name):
        response["Content-Disposition"] = disposition


def _chunks(stream: BinaryIO, length: int) -> Iterator[bytes]:
    with stream:
        while length > 0 and (chunk := stream.read(min(CHUNK, length))):
            length -= len(chunk)
            yield chunk


def _write(request: HttpRequest, store: ObjectStore, key: str) -> HttpResponse:
    """Write the request body to the file, atomically. A chunked body ends with its last chunk."""
    is_chunked = request.META.get(STREAMED, False)
    length = int(request.headers.get("Content-Length") or 0)
    if length > settings.MAX_MEDIA_BYTES and not is_chunked:
        return HttpResponse(status=413)
    if not is_chunked and "Content-Length" not in request.headers:
        return HttpResponse("Send a Content-Length.", content_type="text/plain", status=411)
    settings.WORK_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=settings.WORK_DIR, prefix="upload-") as draft:
        written, status = 0, 400
        try:
            while chunk := request.read(CHUNK):
                written += len(chunk)
                draft.write(chunk)
        except UnreadablePostError as error:
            written, status = -1, 408 if isinstance(error.__cause__, BodyTooSlow) else 400
        draft.flush()
        if written > settings.MAX_MEDIA_BYTES:
            return HttpResponse(status=413)
        if written < 0 or (not is_chunked and written != length):
            return HttpResponse("The upload is incomplete.", content_type="text/plain", status=status)
        stored = store.put(key, Path(draft.name), request.headers.get("Content-Type", CONTENT_TYPE))
    response = HttpResponse(status=200)
    response["ETag"] = f'"{stored.version}"'
    return response
