"""A container as a Python object: who owns it, and its bytes without a copy."""

from __future__ import annotations

import errno
import weakref
from types import TracebackType
from typing import Any, Self

from agents.shipping._shipping import ffi, lib
from agents.shipping.calls import call, enter, failure, leave

_buffer, _free_one, _NULL = ffi.buffer, lib.ts_free_one, ffi.NULL


class Container:
    """Pages of the host's pool that this process owns until it writes or frees them, or detaches.

    Its bytes are [`offset`, `offset` + `length`) of `size`. It comes from `Endpoint.read` or
    `Attachment.alloc`. As a context manager it is freed at the end, unless it has been given away by then.
    One that is neither written nor freed stays this process's, whether or not anything refers to it.

    Everything that needs an owner raises OwnershipError afterwards. Giving away and freeing raise
    BufferError, and nothing is given, while NumPy arrays or slices of the view exist; plain views are
    released by it.
    """

    __slots__ = ("_address", "_cid", "_length", "_memory", "_offset", "_owned", "_size", "_view")

    def __init__(
        self, owned: dict[int, Container], cid: int, offset: int, length: int, size: int, address: Any
    ) -> None:
        self._owned = owned  # all that the attachment has, by identifier
        self._cid = cid  # 0: no longer ours
        self._offset, self._length, self._size = offset, length, size
        self._address = address  # NULL: not mapped
        self._view: memoryview | None = None
        # What every view, slice and array keeps alive while it exists; that is how we know.
        self._memory: weakref.ref[Any] | None = None
        owned[cid] = self

    @property
    def cid(self) -> int:
        """The identifier of the C interface. Raises OwnershipError."""
        self._check()
        return self._cid

    @property
    def owned(self) -> bool:
        """Whether it is still this process's."""
        return self._cid != 0

    @property
    def offset(self) -> int:
        """Bytes in front of the data."""
        return self._offset

    @property
    def length(self) -> int:
        """Bytes of data."""
        return self._length

    @property
    def size(self) -> int:
        """Bytes of the container, whole pages."""
        return self._size

    def window(self, offset: int, length: int) -> None:
        """Choose the bytes that `view` shows and `Endpoint.write` sends.

        Raises OwnershipError; ValueError for bytes outside the container.
        """
        self._check()
        if offset < 0 or length < 0 or offset + length > self._size:
            raise ValueError(f"bytes {offset} to {offset + length} of a container that has 0 to {self._size}")
        self._offset, self._length = offset, length
        self._view = None  # whoever holds it keeps it: it shows what is ours

    def view(self) -> memoryview:
        """Exactly the container's bytes, writable, without a copy; maps it if it is not mapped yet.

        The same view until it is released or the window moves. For NumPy: `np.asarray(container.view())`.
        Raises OwnershipError, OSError where the pool cannot be mapped.
        """
        cid = self._cid
        if cid == 0:
            self._check()
        if self._view is not None:
            try:
                len(self._view)
                return self._view
            except ValueError:  # its holder has released it
                self._view = None
        if self._address == _NULL:
            addresses = ffi.new("void *[1]")
            error = call(lib.cs_map, 1, ffi.new("int[1]", [cid]), addresses, 0)
            if error < 0:
                raise failure(-error, "map a container")
            self._address = addresses[0]
        memory = self._memory() if self._memory is not None else None
        if memory is None:
            memory = _buffer(self._address, self._size)
            self._memory = weakref.ref(memory)
        self._view = memoryview(memory)
        if self._length != self._size:
            self._view = self._view[self._offset : self._offset + self._length]
        return self._view

    def unmap(self) -> None:
        """No address of it is used any more, until the next `view`. Raises as `free`."""
        cid = self.release_views()
        error = call(lib.cs_unmap, 1, ffi.new("int[1]", [cid]))
        if error < 0:
            raise failure(-error, "unmap a container")
        self._address = _NULL

    def free(self) -> None:
        """Give it back to the pool.

        Raises OwnershipError, BufferError; BrokenPipeError when the manager has gone, and the pool with it.
        """
        cid = self.release_views()
        enter()
        try:
            error = _free_one(cid)
        finally:
            leave()
        if error < 0:
            raise failure(-error, "free a container")
        self.forget()

    def release_views(self) -> int:
        """Before it goes to somebody else: nobody here can reach its bytes any more. Returns its identifier.

        Raises OwnershipError, BufferError.
        """
        if self._cid == 0:
            self._check()
        if self._memory is not None:  # there was a view
            try:
                if self._view is not None:
                    self._view.release()
                    self._view = None
                if self._memory() is not None:
                    raise BufferError
            except BufferError:
                raise BufferError(
                    "NumPy arrays or slices of the container's view still exist: delete them first"
                ) from None
            self._memory = None
        return self._cid

    def forget(self) -> None:
        """It is somebody else's now."""
        del self._owned[self._cid]
        self._cid = 0
        self._address = _NULL

    def _check(self) -> None:
        if self._cid == 0:
            raise failure(errno.EPERM, "use a container")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.owned:
            self.free()

    def __repr__(self) -> str:
        whose = f"cid={self._cid:#x}" if self.owned else "given away"
        return f"<Container {whose}, bytes {self._offset} to {self._offset + self._length} of {self._size}>"
