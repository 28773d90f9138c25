"""A small, safe subset of YAML with line numbers: mappings, lists and scalars of the YAML 1.2 core schema.

Built from the parser's event stream, not PyYAML's constructors: no tags, anchors or aliases (no bombs), no
duplicate keys (a host written twice must not vanish), no recursion, and no YAML 1.1 surprises (`on` is text).
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from topologies.wiring import Place

MAX_BYTES = 1 << 20
MAX_DEPTH = 12

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,6})?")
_SPECIAL = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
}  # fmt: skip
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")


class YamlProblem(ValueError):
    """Text that is not a topology's YAML; `line` counts from 1, None when the whole text is meant."""

    def __init__(self, line: int | None, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(message)


def parse(text: str | bytes) -> tuple[Any, dict[Place, int]]:
    """The value of one YAML document and the line (from 1) of every entry in it, by its path.

    Raises:
        YamlProblem: text too long, not UTF-8, not YAML, or outside the subset.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        raise YamlProblem(None, f"is longer than {MAX_BYTES // 1024} KiB")
    try:
        decoded = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlProblem(raw.count(b"\n", 0, error.start) + 1, "is not UTF-8 text") from None
    builder = _Builder()
    try:
        for event in yaml.parse(decoded, Loader=_loader()):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlProblem(mark.line + 1 if mark else None, f"is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, YamlProblem):
            raise
        raise YamlProblem(None, f"is not YAML: {str(error).splitlines()[0]}") from None
    return builder.value, builder.lines


def _loader() -> Any:
    # libyaml reads 1 MiB in a fraction of a second; the pure Python parser takes tens of seconds.
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Builder:
    """Turns events into values with an explicit stack, so that depth costs no Python recursion."""

    def __init__(self) -> None:
        self.value: Any = None
        self.lines: dict[Place, int] = {}
        self._documents = 0
        self._stack: list[tuple[dict[str, Any] | list[Any], Place]] = []
        self._keys: list[str | None] = []

    def feed(self, event: yaml.Event) -> None:
        assert event.start_mark is not None
        line = event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise YamlProblem(line, "holds more than one document")
            case yaml.AliasEvent():
                raise YamlProblem(line, "aliases (*name) are not allowed")
            case yaml.NodeEvent() if event.anchor is not None:
                raise YamlProblem(line, "anchors (&name) are not allowed")
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.MappingStartEvent():
                self._open({}, event, line)
            case yaml.SequenceStartEvent():
                self._open([], event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._stack.pop()
                self._keys.pop()
            case _:
                pass

    def _open(self, container: dict[str, Any] | list[Any], event: Any, line: int) -> None:
        if event.tag is not None:
            raise YamlProblem(line, f"tags are not allowed ({event.tag})")
        if len(self._stack) >= MAX_DEPTH:
            raise YamlProblem(line, f"is nested deeper than {MAX_DEPTH} levels")
        if self._wants_key():
            raise YamlProblem(line, "a key must be plain text")
        place = self._add(container, line)
        self._stack.append((container, place))
        self._keys.append(None)

    def _scalar(self, event: Any, line: int) -> None:
        if event.tag not in (None, "!"):
            raise YamlProblem(line, f"tags are not allowed ({event.tag})")
        if not self._wants_key():
            plain = event.implicit[0]  # the style differs between the two parsers
            self._add(_resolve(event.value) if plain else event.value, line)
            return
        container, place = self._stack[-1]
        if event.value in container:
            shown = ".".join(map(str, (*place, event.value)))
            first = self.lines[(*place, event.value)]
            raise YamlProblem(line, f"{shown} is written twice (first on line {first})")
        self._keys[-1] = event.value
        self.lines[(*place, event.value)] = line

    def _wants_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1][0], dict) and self._keys[-1] is None

    def _add(self, value: Any, line: int) -> Place:
        if not self._stack:
            self.value = value
            self.lines[()] = line
            return ()
        container, place = self._stack[-1]
        if isinstance(container, list):
            container.append(value)
            here: Place = (*place, len(container) - 1)
            self.lines[here] = line
            return here
        key = self._keys[-1]
        assert key is not None
        self._keys[-1] = None
        container[key] = value
        return (*place, key)


def _resolve(text: str) -> Any:
    if text in _SPECIAL:
        return _SPECIAL[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinite := _INFINITE.fullmatch(text):
        return float(infinite.group(1) + "inf")
    return text
