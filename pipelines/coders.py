"""How records that stay in a worker are coded: whole, and without Beam's looks at their size.

Beam samples the size of what goes from one step to the next, for its counters, by pickling it. Our elements are
batches, so each is sampled, and that would cost a tenth of a light extractor's job.
"""

from __future__ import annotations

import pickle
from typing import Any

from apache_beam.coders import Coder, registry


class WholeCoder(Coder):  # type: ignore[misc]
    """Pickles an element where it has to leave the process; its size is not asked for."""

    def encode(self, value: Any) -> bytes:  # noqa: ANN401 - any record
        """The element's pickle."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Any:  # noqa: ANN401
        """The element; the bytes come from a worker of this job."""
        return pickle.loads(encoded)  # noqa: S301 - never from outside

    def is_deterministic(self) -> bool:
        """No: it is never a key."""
        return False

    def estimate_size(self, value: Any) -> int:  # noqa: ANN401
        """Nothing that is worth a look."""
        del value
        return 0


def stays_whole(kind: type) -> type:
    """A class decorator: elements of that type are coded by `WholeCoder`."""
    registry.register_coder(kind, WholeCoder)
    return kind
