"""Just enough eBPF: instructions assembled in Python and loaded with bpf(2), with no need of a compiler.

A program and this process can share memory: an array of one value, which both sides read and write in place.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FRAME = range(11)
BYTE, HALF, WORD, DOUBLE = 0x10, 0x08, 0x00, 0x18
SKB_LOAD_BYTES, CLONE_REDIRECT = 26, 13

_SYSCALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_MAP_CREATE, _PROG_LOAD, _MAP_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD = 0, 5, 14, 15
_SCHED_CLS = 3
_ARRAY, _MMAPABLE = 2, 1 << 10
_MAP_VALUE = 2
"""A 64-bit constant with this source register is an address in a map's only value (BPF_PSEUDO_MAP_VALUE)."""
_LOG_BYTES = 1 << 16
_OPERATIONS = {"+": 0x0F, "*": 0x2F, "|": 0x4F, "^": 0xAF}
_JUMPS = {"==": 0x10, "!=": 0x50, "<": 0xA0, "<=": 0xB0}


class Assembler:
    """Instructions with labels; jumps may go forward to labels not yet placed."""

    def __init__(self) -> None:
        self._code: list[bytes] = []
        self._labels: dict[str, int] = {}
        self._jumps: dict[int, str] = {}

    def label(self, name: str) -> None:
        """The place where the next instruction goes."""
        self._labels[name] = len(self._code)

    def move(self, to: int, value: int) -> None:
        """A 32-bit constant, sign-extended."""
        self._put(0xB7, to, 0, 0, value)

    def copy(self, to: int, source: int) -> None:
        """One register to another."""
        self._put(0xBF, to, source, 0, 0)

    def constant(self, to: int, value: int) -> None:
        """A 64-bit constant."""
        self._put(0x18, to, 0, 0, _signed(value & 0xFFFFFFFF))
        self._put(0, 0, 0, 0, _signed(value >> 32))

    def load(self, size: int, to: int, base: int, offset: int) -> None:
        """From memory at a register plus an offset."""
        self._put(0x61 | size, to, base, offset, 0)

    def store(self, size: int, base: int, offset: int, source: int) -> None:
        """To memory at a register plus an offset."""
        self._put(0x63 | size, base, source, offset, 0)

    def add(self, to: int, value: int) -> None:
        """Add a constant."""
        self._put(0x07, to, 0, 0, value)

    def mask(self, to: int, value: int) -> None:
        """Keep the bits of a constant."""
        self._put(0x57, to, 0, 0, value)

    def shift_left(self, to: int, bits: int) -> None:
        """Multiply by a power of two."""
        self._put(0x67, to, 0, 0, bits)

    def shift_right(self, to: int, bits: int) -> None:
        """Divide by a power of two, unsigned."""
        self._put(0x77, to, 0, 0, bits)

    def combine(self, to: int, operation: str, source: int) -> None:
        """Add, multiply, or, exclusive or: of 64 bits, with another register."""
        self._put(_OPERATIONS[operation], to, source, 0, 0)

    def add_in_memory(self, base: int, offset: int, source: int) -> None:
        """Add a register to 64 bits of memory, in one step for every CPU."""
        self._put(0xDB, base, source, offset, 0)

    def address(self, to: int, shared: int, offset: int) -> None:
        """The address of a byte of shared memory (a descriptor of `share`)."""
        self._put(0x18, to, _MAP_VALUE, 0, shared)
        self._put(0, 0, 0, 0, offset)

    def from_network_order(self, to: int, bits: int) -> None:
        """Turn big-endian memory of 16, 32 or 64 bits into a number."""
        self._put(0xDC, to, 0, 0, bits)

    def jump_if(self, left: int, relation: str, value: int, label: str) -> None:
        """Compare with a 32-bit constant, sign-extended; unsigned."""
        self._jumps[len(self._code)] = label
        self._put(0x05 | _JUMPS[relation], left, 0, 0, value)

    def jump_if_register(self, left: int, relation: str, right: int, label: str) -> None:
        """Compare two registers, unsigned."""
        self._jumps[len(self._code)] = label
        self._put(0x0D | _JUMPS[relation], left, right, 0, 0)

    def call(self, helper: int) -> None:
        """A kernel function; arguments in R1 to R5, the result in R0."""
        self._put(0x85, 0, 0, 0, helper)

    def leave(self, verdict: int) -> None:
        """End with a result."""
        self.move(R0, verdict)
        self._put(0x95, 0, 0, 0, 0)

    def code(self) -> bytes:
        """The program, with every jump resolved."""
        code = list(self._code)
        for place, label in self._jumps.items():
            distance = self._labels[label] - place - 1
            code[place] = code[place][:2] + struct.pack("=h", distance) + code[place][4:]
        return b"".join(code)

    def _put(self, operation: int, to: int, source: int, offset: int, value: int) -> None:
        self._code.append(struct.pack("=BBhi", operation, source << 4 | to, offset, value))


def load_classifier(code: bytes, name: str) -> int:
    """Load a traffic classifier and return its descriptor, which the caller closes.

    Raises:
        OSError: the kernel refused; the message ends with the verifier's last lines.
    """
    result, _ = _load(code, name, log_bytes=0)
    if result < 0:
        # Again, for the reasons: asked for at once, a log that is too long fails a program that is not.
        result, said = _load(code, name, log_bytes=_LOG_BYTES)
        if result < 0:
            error = ctypes.get_errno()
            reason = "; ".join([os.strerror(error), *said.strip().splitlines()[-2:]])
            raise OSError(error, f"loading a BPF program: {reason}")
    return result


def share(size: int, name: str) -> int:
    """Memory to share with programs, all zero: its descriptor, which the caller closes and can map.

    It lives as long as a descriptor, a mapping or a loaded program knows it. Raises `OSError`.
    """
    attributes = struct.pack("=7I16s", _ARRAY, 4, size, 1, _MMAPABLE, 0, 0, name.encode()[:15])
    return _checked(_bpf(_MAP_CREATE, attributes), "making memory to share with BPF programs")


def number_of(shared: int) -> int:
    """The kernel's number of shared memory, by which `shared_by_number` finds it again. Raises `OSError`."""
    information = ctypes.create_string_buffer(8)
    attributes = struct.pack("=IIQ", shared, len(information), ctypes.addressof(information))
    _checked(_bpf(_OBJ_GET_INFO_BY_FD, attributes), "asking for the number of shared memory")
    return int(struct.unpack("=II", information.raw)[1])


def shared_by_number(number: int) -> int:
    """A descriptor of shared memory that still lives; the caller closes it. Raises `OSError`."""
    attributes = struct.pack("=III", number, 0, 0)
    return _checked(_bpf(_MAP_GET_FD_BY_ID, attributes), f"opening shared memory number {number}")


def _load(code: bytes, name: str, log_bytes: int) -> tuple[int, str]:
    program = ctypes.create_string_buffer(code, len(code))
    log = ctypes.create_string_buffer(max(log_bytes, 1))
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "=IIQQIIQII16s",
        _SCHED_CLS,
        len(code) // 8,
        ctypes.addressof(program),
        ctypes.addressof(licence),
        int(log_bytes > 0),
        log_bytes,
        ctypes.addressof(log) if log_bytes else 0,
        0,
        0,
        name.encode()[:15],
    )
    return _bpf(_PROG_LOAD, attributes), log.value.decode("utf-8", "replace")


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2): its number on {platform.machine()} is not known here")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(number, command, buffer, len(attributes)))


def _checked(result: int, attempted: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{attempted}: {os.strerror(error)}")
    return result


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value
