"""Just enough eBPF: instructions assembled in Python and loaded with bpf(2), with no need of a compiler."""

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
_PROG_LOAD = 5
_SCHED_CLS = 3
_LOG_BYTES = 1 << 16
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
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"loading a BPF program: unknown machine {platform.machine()}")
    result, _ = _load(number, code, name, log_bytes=0)
    if result < 0:
        # Again, for the reasons: asked for at once, a log that is too long fails a program that is not.
        result, said = _load(number, code, name, log_bytes=_LOG_BYTES)
        if result < 0:
            error = ctypes.get_errno()
            reason = "; ".join([os.strerror(error), *said.strip().splitlines()[-2:]])
            raise OSError(error, f"loading a BPF program: {reason}")
    return result


def _load(number: int, code: bytes, name: str, log_bytes: int) -> tuple[int, str]:
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
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = int(libc.syscall(number, _PROG_LOAD, buffer, len(attributes)))
    return result, log.value.decode("utf-8", "replace")


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value
