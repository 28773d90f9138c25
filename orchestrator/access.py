"""Where the server listens and who may ask: this machine alone, or with TLS and a token whoever has the
token."""

import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.state import DEFAULT_LISTEN

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
TOKEN_CHARACTERS = (32, 512)


class AccessError(Exception):
    """The server may not be reached in this way; the message names the option."""


@dataclass(frozen=True)
class Listen:
    """Where to listen: a host and port, or the path of a Unix socket; `tls` if that is spoken there."""

    host: str = ""
    port: int = 0
    path: Path | None = None
    tls: bool = False

    @property
    def address(self) -> str:
        """How a client names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.path}" if self.path else f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether this machine alone can reach it."""
        return self.path is not None or ipaddress.ip_address(self.host).is_loopback


@dataclass(frozen=True)
class Access:
    """Who may ask. `names` are those that requests may call the server, beside what IP addresses it has if
    `token`."""

    token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    names: frozenset[str] = LOOPBACK

    def answers_to(self, name: str | None) -> bool:
        """Whether a request that calls the server so is meant for it.

        A web page can have its own name resolve to any address, but it cannot name an address of ours.
        """
        return name in self.names or (self.token is not None and _is_address(name or ""))


def parse_listen(text: str) -> Listen:
    """`127.0.0.1:8351` or `[::1]:8351`. Raises AccessError for what is no address and port."""
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    if not _is_address(host):
        raise AccessError(f"--listen {text!r}: give an address and a port, such as {DEFAULT_LISTEN}")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise AccessError(f"--listen {text!r}: the port must be 0 to 65535")
    return Listen(host, int(port))


def access(
    listen: Listen, certificate: Path | None, key: Path | None, token: Path | None, names: tuple[str, ...]
) -> Access:
    """Who may ask at `listen`. Raises AccessError; for another address than loopback if not all three are
    given."""
    if (certificate is None) != (key is None):
        raise AccessError("--certificate and --key: give both or none")
    if not listen.loopback and (certificate is None or token is None):
        raise AccessError(
            f"--listen {listen.address!r}: others than this machine are served with TLS and a token only; "
            "give --certificate FILE, --key FILE and --token FILE"
        )
    return Access(
        None if token is None else read_token(token),
        None if certificate is None or key is None else _context(certificate, key),
        LOOPBACK | frozenset(names) | ({listen.host} if listen.host else set()),
    )


def read_token(path: Path, option: str = "--token") -> str:
    """The token in a file that nobody else can read. Raises AccessError, which names the option."""
    try:
        _private(option, path)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "is not ASCII"
        raise AccessError(f"{option} {path}: {why}") from None
    fewest, most = TOKEN_CHARACTERS
    if not fewest <= len(token) <= most or not token.isprintable() or " " in token:
        what = f"{fewest} to {most} printable characters without a space expected"
        raise AccessError(f"{option} {path}: {what}")
    return token


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        _private("--key", key)
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise AccessError(f"--certificate {certificate}, --key {key}: {error}") from None
    return context


def _no_password() -> str:
    # Else OpenSSL asks for it at the terminal.
    raise ValueError("the key is encrypted; give one that is not")


def _private(option: str, path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise AccessError(f"{option} {path}: others can read it (mode {mode:o}); chmod 600 it")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
