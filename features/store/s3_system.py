"""s3fs whose errors are all OSErrors, so that what cares for a disk's cares for a bucket's; and paths that it opens.

Neither is registered with fsspec or upath: what a source on S3, or a user's own code, opens there stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from aiohttp import ClientError as ConnectionCut
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem
from upath.implementations.cloud import S3Path

if TYPE_CHECKING:
    from collections.abc import Mapping

_OTHERS = (BotoCoreError, ClientError, ConnectionCut)


class Bucket(S3FileSystem):  # type: ignore[misc] # s3fs states no types
    """As s3fs, but for what it raises, and for how often it tries again what botocore has tried again already."""

    retries = 3

    async def _call_s3(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as s3fs has it
        try:
            return await super()._call_s3(*args, **kwargs)
        except _OTHERS as error:
            raise _as_os_error(error) from error

    call_s3 = sync_wrapper(_call_s3)

    async def _cat_file(self, *args: Any, **kwargs: Any) -> bytes:  # noqa: ANN401 - as s3fs has it
        try:
            return bytes(await super()._cat_file(*args, **kwargs))
        except _OTHERS as error:
            raise _as_os_error(error) from error

    async def _bulk_delete(self, pathlist: list[str], **kwargs: Any) -> list[str]:  # noqa: ANN401 - as s3fs has it
        """At most 1000 keys of one bucket; unlike that of s3fs it tells what may not be deleted."""
        if not pathlist:
            return []
        bucket = self.split_path(pathlist[0])[0]
        delete = {"Objects": [{"Key": self.split_path(path)[1]} for path in pathlist], "Quiet": False}
        answer = await self._call_s3("delete_objects", kwargs, Bucket=bucket, Delete=delete)
        for refused in answer.get("Errors", []):
            message = f"{bucket}/{refused.get('Key')}: {refused.get('Code')} {refused.get('Message')}"
            raise PermissionError(message)
        return [f"{bucket}/{deleted['Key']}" for deleted in answer.get("Deleted", [])]

    bulk_delete = sync_wrapper(_bulk_delete)


class BucketPath(S3Path):  # type: ignore[misc] # upath is not looked into
    """A path in a bucket that `Bucket` opens."""

    __slots__ = ()

    def __new__(cls, *_: object, **__: object) -> Self:
        """Of this class: upath would ask its registry for the one of `s3`."""
        return object.__new__(cls)

    @classmethod
    def _fs_factory(cls, urlpath: str, protocol: str, storage_options: Mapping[str, Any]) -> Bucket:
        del urlpath, protocol
        return Bucket(**storage_options)


def _as_os_error(error: Exception) -> OSError:
    return OSError(" ".join(str(error).split()) or type(error).__name__)
