"""`S3Store`: a bucket of an S3 server, or a path in it, as object storage."""

from __future__ import annotations

import base64
import hashlib
import io
import mimetypes
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from botocore.exceptions import ClientError
from django.utils.http import content_disposition_header

from speechportal.storage import keys
from speechportal.storage.backends import s3_errors
from speechportal.storage.backends.base import (
    CHUNK,
    CONTENT_TYPE,
    Entry,
    Folder,
    Method,
    ObjectStore,
    OnUnusable,
    Progress,
    StoredFile,
)
from speechportal.storage.backends.files import require, require_all_of, write_whole
from speechportal.storage.backends.multipart import MultipartStep, MultipartUploads
from speechportal.storage.backends.s3_client import MIB, ExplicitS3Storage, S3Settings, storage_for
from speechportal.storage.errors import (
    AccessDenied,
    Changed,
    NotFound,
    ObjectEncrypted,
    StorageFault,
    TargetExists,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PAGE = 1000
QUOTES = '"'
BUCKET_SEEN_SECONDS = 30
MULTIPART_OPERATIONS: dict[MultipartStep, str] = {
    "create": "create_multipart_upload",
    "part": "upload_part",
    "list": "list_parts",
    "complete": "complete_multipart_upload",
    "abort": "abort_multipart_upload",
}


class S3Store(ObjectStore, MultipartUploads):
    """Store of the files below ``root`` in a bucket.

    The version of a file is its ETag and the time of the last write, in seconds: responses about a single
    file have that precision, even where listings are more precise.
    """

    # A larger file is copied in parts; S3 copies at most 5 GB in one request.
    copy_limit = 5 * 1000**3
    copy_part = 512 * MIB
    # A larger file is uploaded in parts.
    put_limit = 64 * MIB

    def __init__(self, given: S3Settings) -> None:
        self._given = given
        self._bucket_seen = -1e9

    @property
    def _storage(self) -> ExplicitS3Storage:
        return storage_for(self._given)

    @property
    def _client(self) -> S3Client:
        return self._storage.client

    def list_level(self, prefix: str, on_unusable: OnUnusable | None = None) -> Iterator[Entry]:
        # ListObjects in its first version: NCP does not support ListObjectsV2.
        full_prefix, root = keys.check_folder(prefix, root=self._given.root), self._given.root
        marker, last_folder = "", ""
        while True:
            with s3_errors.faults(prefix):
                page = self._client.list_objects(
                    Bucket=self._given.bucket, Prefix=full_prefix, Delimiter="/", Marker=marker, MaxKeys=PAGE
                )
            self._note_bucket()
            found: dict[str, Any] = {item["Key"]: item for item in page.get("Contents", [])}
            found.update((item["Prefix"], None) for item in page.get("CommonPrefixes", []))
            for full_key in sorted(found):
                key, item = full_key[len(root) :], found[full_key]
                if key in (prefix, last_folder):  # The folder's marker, or already on the previous page.
                    continue
                if item is None:
                    last_folder = key
                if not (keys.is_valid_folder(key) if item is None else keys.is_valid_key(key)):
                    if on_unusable:
                        on_unusable(key)
                elif item is None:
                    yield Folder(key)
                else:
                    yield _stored(key, item["Size"], item["ETag"], item["LastModified"])
            if not page["IsTruncated"]:
                return
            following = page.get("NextMarker") or max(found, default="")
            if following <= marker:
                raise StorageFault(prefix, answer="the listing does not go on")
            marker = following

    def server_time(self) -> datetime:
        if (now := self._storage.clock.now()) is None:
            with s3_errors.faults(""):
                self._client.head_bucket(Bucket=self._given.bucket)
            now = self._storage.clock.now()
        if now is None:
            raise StorageFault("", answer="no Date")
        return now

    def stat(self, key: str) -> StoredFile | None:
        found = self._head(key)
        if found is None:
            return None
        return _stored(key, found["ContentLength"], found["ETag"], found["LastModified"])

    def open(self, key: str) -> BinaryIO:
        return cast("BinaryIO", io.BufferedReader(_Body(self._get(key)["Body"], key), CHUNK))

    def read_start(self, key: str, size: int) -> bytes:
        answer = self._get(key, Range=f"bytes=0-{size - 1}")
        with io.BufferedReader(_Body(answer["Body"], key), size) as stream:
            return stream.read(size)

    def download(
        self,
        key: str,
        path: Path,
        *,
        if_version: str | None = None,
        limit: int | None = None,
        on_progress: Progress | None = None,
    ) -> StoredFile:
        answer = self._get(key)
        # From the headers of the same response as the body, so that the two cannot differ.
        file = _stored(key, answer["ContentLength"], answer["ETag"], answer["LastModified"])
        with answer["Body"] as body:
            require(file, if_version, limit)
            write_whole(path, _chunks(body, key), partial(require_all_of, file), on_progress)
        return file

    def put(self, key: str, data: bytes | Path, content_type: str = CONTENT_TYPE) -> StoredFile:
        full_key = self._full(key)
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        with s3_errors.faults(key):
            if isinstance(data, Path) and size > self.put_limit:
                self._client.upload_file(
                    str(data),
                    self._given.bucket,
                    full_key,
                    ExtraArgs={"ContentType": content_type},
                    Config=self._storage.transfer_config,
                )
            else:
                body = data if isinstance(data, bytes) else data.read_bytes()
                self._put(full_key, body, content_type)
        stored = self.stat(key)
        if stored is None or stored.size != size:
            raise StorageFault(key, answer=f"{stored.size if stored else 0} of {size} bytes")
        return stored

    def copy(self, source: str, target: str, *, if_version: str | None = None) -> StoredFile:
        self._full(target)
        before = self._head(source)
        if before is None:
            raise NotFound(source)
        file = _stored(source, before["ContentLength"], before["ETag"], before["LastModified"])
        if if_version is not None and file.version != if_version:
            raise Changed(source)
        if source == target:
            raise TargetExists(target)
        if (there := self._head(target)) is not None:
            if not self._same(source, before, target, there):
                raise TargetExists(target)
        else:
            with s3_errors.faults(source):
                if file.size > self.copy_limit:
                    self._copy_in_parts(source, target, before)
                else:
                    self._copy_at_once(source, target, before)
        copied = self.stat(target)
        if copied is None or copied.size != file.size:
            raise StorageFault(target, answer=f"{copied.size if copied else 0} of {file.size} bytes")
        return copied

    def delete(self, key: str) -> None:
        full_key = self._full(key)
        with s3_errors.faults(key):
            try:
                self._client.delete_object(Bucket=self._given.bucket, Key=full_key)
            except ClientError as error:
                if s3_errors.CODES.get(error.response["Error"]["Code"]) is not NotFound:
                    raise

    def presign(self, key: str, *, expires: int, method: Method = "get", filename: str | None = None) -> str:
        params: dict[str, Any] = {"Bucket": self._given.bucket, "Key": self._full(key)}
        if filename and method == "get":
            params["ResponseContentDisposition"] = attachment(filename)
        if method == "get" and (content_type := mimetypes.guess_type(key)[0]):
            params["ResponseContentType"] = content_type
        with s3_errors.faults(key):
            return self._client.generate_presigned_url(f"{method}_object", Params=params, ExpiresIn=expires)

    def presign_multipart(
        self, key: str, step: MultipartStep, *, expires: int, upload_id: str = "", part_number: int = 0
    ) -> str:
        params: dict[str, Any] = {"Bucket": self._given.bucket, "Key": self._full(key)}
        if step != "create":
            params["UploadId"] = upload_id
        if step == "part":
            params["PartNumber"] = part_number
        with s3_errors.faults(key):
            return self._client.generate_presigned_url(
                MULTIPART_OPERATIONS[step], Params=params, ExpiresIn=expires
            )

    def create_folder(self, path: str) -> None:
        full_path = keys.check_folder(path, root=self._given.root)
        if not path:
            return
        with s3_errors.faults(path):
            self._put(full_path, b"", "application/x-directory")

    def _full(self, key: str) -> str:
        return keys.check_key(key, root=self._given.root)

    def _put(self, full_key: str, body: bytes, content_type: str) -> None:
        # The server refuses a body that was damaged on the way.
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        self._client.put_object(
            Bucket=self._given.bucket, Key=full_key, Body=body, ContentType=content_type, ContentMD5=digest
        )

    def _head(self, key: str) -> dict[str, Any] | None:
        full_key = self._full(key)
        with s3_errors.faults(key):
            try:
                answer = self._client.head_object(Bucket=self._given.bucket, Key=full_key)
            except ClientError as error:
                if s3_errors.status_of(error) != 404:
                    if not s3_errors.has_code(error):
                        self._explain()
                        # The bucket is accessible, so the error concerns this file.
                        if s3_errors.status_of(error) == 400:
                            raise ObjectEncrypted(key) from error
                    raise
                # "Not found" may also mean the bucket.
                if time.monotonic() - self._bucket_seen > BUCKET_SEEN_SECONDS:
                    self._explain()
                return None
        self._note_bucket()
        return cast("dict[str, Any]", answer)

    def _get(self, key: str, **more: Any) -> dict[str, Any]:
        full_key = self._full(key)
        with s3_errors.faults(key):
            found = self._client.get_object(Bucket=self._given.bucket, Key=full_key, **more)
        answer = cast("dict[str, Any]", found)
        if "ContentLength" not in answer:
            answer["Body"].close()
            raise StorageFault(key, answer="no Content-Length")
        self._storage.http.expect(answer["ContentLength"])
        self._note_bucket()
        return answer

    def _note_bucket(self) -> None:
        self._bucket_seen = time.monotonic()

    def _explain(self) -> None:
        """Raise the cause of a failed HEAD request, whose response has no body, by a request that has one."""
        try:
            self._client.list_objects(Bucket=self._given.bucket, Prefix=self._given.root, MaxKeys=1)
        except ClientError as error:
            # Credentials that may read and write but not list get only "not found".
            if s3_errors.CODES.get(error.response["Error"]["Code"]) is not AccessDenied:
                raise
        else:
            self._note_bucket()

    def _same(self, source: str, one: dict[str, Any], target: str, other: dict[str, Any]) -> bool:
        """Whether two files have the same bytes. ETags show it only for files written in one request."""
        if one["ContentLength"] != other["ContentLength"]:
            return False
        if one["ETag"] == other["ETag"]:
            return True
        with self.open(source) as left, self.open(target) as right:
            while (chunk := left.read(CHUNK)) == right.read(CHUNK):
                if not chunk:
                    return True
        return False

    def _copy_at_once(self, source: str, target: str, before: dict[str, Any]) -> None:
        self._client.copy_object(
            Bucket=self._given.bucket,
            Key=self._full(target),
            CopySource={"Bucket": self._given.bucket, "Key": self._full(source)},
            CopySourceIfMatch=before["ETag"],
        )

    def _copy_in_parts(self, source: str, target: str, before: dict[str, Any]) -> None:
        bucket, full_target = self._given.bucket, self._full(target)
        kept = {name: before[name] for name in ("ContentType", "Metadata") if before.get(name)}
        upload = self._client.create_multipart_upload(Bucket=bucket, Key=full_target, **kept)["UploadId"]
        try:
            parts: list[CompletedPartTypeDef] = []
            for number, start in enumerate(range(0, before["ContentLength"], self.copy_part), start=1):
                end = min(start + self.copy_part, before["ContentLength"]) - 1
                copied = self._client.upload_part_copy(
                    Bucket=bucket,
                    Key=full_target,
                    UploadId=upload,
                    PartNumber=number,
                    CopySource={"Bucket": bucket, "Key": self._full(source)},
                    CopySourceIfMatch=before["ETag"],
                    CopySourceRange=f"bytes={start}-{end}",
                )
                parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
            self._client.complete_multipart_upload(
                Bucket=bucket, Key=full_target, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            self._client.abort_multipart_upload(Bucket=bucket, Key=full_target, UploadId=upload)
            raise


class _Body(io.RawIOBase):
    """Stream of a body that raises StorageError."""

    def __init__(self, body: Any, key: str) -> None:
        self._body = body
        self._key = key

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with s3_errors.faults(self._key):
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


def _chunks(body: Any, key: str) -> Iterator[bytes]:
    while True:
        with s3_errors.faults(key):
            chunk = body.read(CHUNK)
        if not chunk:
            return
        yield chunk


def _stored(key: str, size: int, etag: str, modified: datetime) -> StoredFile:
    written = modified.astimezone(UTC).replace(microsecond=0)
    version = f"{etag.strip(QUOTES)}-{int(written.timestamp())}"
    return StoredFile(key=key, size=size, version=version, modified=written)


def attachment(filename: str) -> str:
    """``Content-Disposition`` header that saves under ``filename``, in any script (RFC 6266)."""
    return content_disposition_header(as_attachment=True, filename=filename) or "attachment"
