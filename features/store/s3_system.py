"""s3fs whose errors are all OSErrors, so that what cares for a disk's cares for a bucket's."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientError as ConnectionCut
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

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


def _as_os_error(error: Exception) -> OSError:
    return OSError(" ".join(str(error).split()) or type(error).__name__)
