"""libshipping: Container Shipping in user space, the I/O systems beside it, and the workloads.

The six calls for Python programs are exported here (see api.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.shipping.api import Attachment, Container, Endpoint, OwnershipError, attach

__all__ = ["Attachment", "Container", "Endpoint", "OwnershipError", "attach"]


def __getattr__(name: str) -> Any:
    """Load them when first used: the build, which is in this package too, has no C library yet."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from agents.shipping import api

    return getattr(api, name)
