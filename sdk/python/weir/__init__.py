"""Write a Weir transform in Python: one function over the events of a batch.

    from weir import drop, keep, plugin

    def no_pings(config, step):
        return lambda event: drop() if event.type == "ping" else keep()

    Lifecycle, Transform = plugin(no_pings)

Events cross the sandbox as columns of a whole batch; this package hides them.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Callable, Optional, Sequence, Union

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log as _host
from wit_world.imports import types as _wit

__all__ = [
    "Event", "Failure", "REMOVE", "Row", "Step", "Verdict",
    "drop", "emit", "fail", "keep", "log", "patch", "plugin", "remove", "replace", "set",
]

_NONE = 0xFFFFFFFF
_INHERIT: Any = object()

# The numbers of what a field is, as the contract has them.
_TEXT, _JSON, _AMBIGUOUS = 5, 6, 128

REMOVE: Any = object()
"""In `patch`, the value that takes a field away."""

Step = _wit.Step
"""Where the plugin runs: `pipeline`, `name`, `instance`, `host_version`."""


class Failure(Exception):
    """Fails one event when raised. `kind` is "invalid", "transient" or "internal"."""

    def __init__(self, message: str, kind: str = "invalid") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Row:
    """An event that takes the place of the one judged. What is not given is inherited; None takes it away."""

    data: Any = _INHERIT
    type: Any = _INHERIT
    subject: Any = _INHERIT
    content_type: Any = _INHERIT
    route: Optional[str] = None
    extensions: dict[str, Optional[str]] = field(default_factory=dict)


@dataclass
class Verdict:
    """What becomes of an event; made by the functions below."""

    kind: _wit.Verdict
    rows: list[Row] = field(default_factory=list)
    changes: list[tuple[str, Any]] = field(default_factory=list)
    failure: Optional[Failure] = None


def keep() -> Verdict:
    """It passes on untouched."""
    return Verdict(_wit.Verdict.KEEP)


def drop() -> Verdict:
    """It is dropped on purpose."""
    return Verdict(_wit.Verdict.DROP)


def set(changes: dict[str, Any]) -> Verdict:
    """It passes on with these fields of its JSON data set: `set({"user.plan": "pro"})`.

    Objects on the way are made where they are missing; all that is not changed keeps its bytes."""
    return patch(*changes.items())


def remove(*paths: str) -> Verdict:
    """It passes on without these fields of its JSON data."""
    return patch(*((path, REMOVE) for path in paths))


def patch(*changes: tuple[str, Any]) -> Verdict:
    """It passes on with changes, made in this order; REMOVE takes a field away."""
    return Verdict(_wit.Verdict.PATCH, changes=list(changes)) if changes else keep()


def replace(data: Any) -> Verdict:
    """It passes on with this data: bytes and strings as they are, anything else as JSON."""
    return emit(Row(data=data))


def emit(*rows: Row) -> Verdict:
    """These take its place: one changes it, several split it."""
    return Verdict(_wit.Verdict.EMIT, rows=list(rows)) if rows else drop()


def fail(message: str, kind: str = "invalid") -> Verdict:
    """It cannot be judged; the step's `on_error` decides what becomes of it."""
    return Verdict(_wit.Verdict.FAIL, failure=Failure(message, kind))


def log(message: str, level: str = "info") -> None:
    """Writes a line into the daemon's log."""
    _host.log(_host.Level[level.upper()], message)


def _part(ends: list[int], index: int) -> slice:
    return slice(ends[index - 1] if index else 0, ends[index])


class Event:
    """One event: a view over the columns that reads only what is asked for."""

    __slots__ = ("_columns", "_index")

    def __init__(self, columns: "_Columns", index: int) -> None:
        self._columns = columns
        self._index = index

    @property
    def id(self) -> str:
        return self._columns.ids[_part(self._columns.batch.id_ends, self._index)].decode()

    @property
    def source(self) -> str:
        return self._columns.word(self._columns.batch.sources[self._index]) or ""

    @property
    def type(self) -> str:
        return self._columns.word(self._columns.batch.types[self._index]) or ""

    @property
    def subject(self) -> Optional[str]:
        return self._columns.word(self._columns.batch.subjects[self._index])

    @property
    def content_type(self) -> Optional[str]:
        return self._columns.word(self._columns.batch.content_types[self._index])

    @property
    def time(self) -> int:
        """Microseconds since the Unix epoch."""
        return self._columns.batch.times[self._index]

    @property
    def extensions(self) -> dict[str, str]:
        """The attributes beyond those of CloudEvents."""
        found = self._columns.batch.extensions
        if found is None:
            return {}
        entries = range(len(found.name_of))[_part(found.row_ends, self._index)]
        values = self._columns.values
        return {found.names[found.name_of[at]]: values[_part(found.value_ends, at)].decode() for at in entries}

    def field(self, path: str, default: Any = None) -> Any:
        """A field that the plugin named in `fields`, or the default where there is none."""
        column, values = self._columns.column(path)
        kind = column.kinds[self._index] & ~_AMBIGUOUS
        if kind < 4:
            return (default, None, False, True)[kind]
        if kind > _JSON:
            return default
        text = values[_part(column.ends, self._index)].decode()
        return text if kind == _TEXT else json.loads(text)

    def is_ambiguous(self, path: str) -> bool:
        """Whether an object on the way to the field names its key more than once; the last one counts."""
        return self._columns.column(path)[0].kinds[self._index] >= _AMBIGUOUS

    @property
    def data(self) -> bytes:
        """The payload. Empty where the plugin names `fields`, unless it asks for `data` too."""
        return self._columns.batch.data[_part(self._columns.batch.data_ends, self._index)]

    def text(self) -> str:
        """The payload as text; an invalid event where it is not UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            raise Failure("data is not UTF-8") from None

    def json(self) -> Any:
        """The payload as JSON; an invalid event where it is none."""
        try:
            return json.loads(self.text())
        except ValueError as error:
            raise Failure(f"data is not JSON: {error}") from None


class _Columns:
    """The columns of a batch, with the texts as bytes, which is what their ends count."""

    def __init__(self, batch: _wit.Batch, paths: list[str]) -> None:
        self.batch = batch
        self.fields = {path: (column, column.values.encode()) for path, column in zip(paths, batch.fields)}
        self.ids = batch.ids.encode()
        self.values = batch.extensions.values.encode() if batch.extensions else b""
        dictionary = batch.dictionary.encode()
        ends = batch.dictionary_ends
        self.words = [dictionary[_part(ends, index)].decode() for index in range(len(ends))]

    def column(self, path: str) -> tuple[_wit.Column, bytes]:
        try:
            return self.fields[path]
        except KeyError:
            raise LookupError(f"the plugin does not name the field {path}: add it to `fields`") from None

    def word(self, index: int) -> Optional[str]:
        return None if index == _NONE else self.words[index]


class _Texts:
    """Texts that are appended one by one, and where each ends."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.bytes = bytearray()

    def push(self, piece: bytes) -> None:
        self.bytes += piece
        self.ends.append(len(self.bytes))


def _payload(data: Any) -> bytes:
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def _value(value: Any) -> tuple[int, str]:
    """The kind of a value and its text."""
    if value is REMOVE:
        return 0, ""
    if value is None:
        return 1, ""
    if isinstance(value, bool):
        return (3 if value else 2), ""
    if isinstance(value, str):
        return _TEXT, value
    # What JSON has no number for is refused here, where the plugin is told.
    return _JSON, json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _patches(changes: list[tuple[int, str, Any]]) -> _wit.Patches:
    names: dict[str, int] = {}
    name_of: list[int] = []
    kinds = bytearray()
    values = _Texts()
    for _, path, value in changes:
        name_of.append(names.setdefault(path, len(names)))
        kind, text = _value(value)
        kinds.append(kind)
        values.push(text.encode())
    return _wit.Patches(
        origins=[origin for origin, _, _ in changes],
        names=list(names),
        name_of=name_of,
        kinds=bytes(kinds),
        ends=values.ends,
        values=values.bytes.decode(),
    )


def _rows(rows: list[tuple[int, Event, Row]]) -> _wit.Rows:
    dictionary = _Texts()
    words: dict[str, int] = {}

    def intern(word: Optional[str]) -> int:
        if word is None:
            return _NONE
        if word not in words:
            words[word] = len(words)
            dictionary.push(word.encode())
        return words[word]

    def column(name: str) -> list[int]:
        # Left empty where every row inherits it.
        if all(getattr(row, name) is _INHERIT for _, _, row in rows):
            return []
        given = ((getattr(row, name), getattr(event, name)) for _, event, row in rows)
        return [intern(inherited if value is _INHERIT else value) for value, inherited in given]

    data = _Texts()
    if any(row.data is not _INHERIT for _, _, row in rows):
        for _, event, row in rows:
            data.push(event.data if row.data is _INHERIT else _payload(row.data))
    types, subjects, content_types = column("type"), column("subject"), column("content_type")
    has_routes = any(row.route is not None for _, _, row in rows)
    routes = [intern(row.route) for _, _, row in rows] if has_routes else []
    return _wit.Rows(
        origins=[origin for origin, _, _ in rows],
        data_ends=data.ends,
        data=bytes(data.bytes),
        dictionary_ends=dictionary.ends,
        dictionary=dictionary.bytes.decode(),
        types=types,
        subjects=subjects,
        content_types=content_types,
        routes=routes,
        extensions=_extensions(rows),
    )


def _extensions(rows: list[tuple[int, Event, Row]]) -> Optional[_wit.Extensions]:
    if not any(row.extensions for _, _, row in rows):
        return None
    names: list[str] = []
    row_ends: list[int] = []
    name_of: list[int] = []
    values = _Texts()
    for _, event, row in rows:
        for name, value in {**event.extensions, **row.extensions}.items():
            if value is None:
                continue
            if name not in names:
                names.append(name)
            name_of.append(names.index(name))
            values.push(value.encode())
        row_ends.append(len(name_of))
    return _wit.Extensions(names, row_ends, name_of, values.ends, values.bytes.decode())


def plugin(
    configure: Callable[[dict, Step], Callable[[Event], Verdict]],
    schema: Optional[dict] = None,
    fields: Union[Sequence[str], Callable[[dict], Sequence[str]]] = (),
    data: Optional[bool] = None,
):
    """Makes a plugin of `configure`, which is called once with the step's config and answers the function that
    judges each event. What `configure` raises refuses the pipeline; what the function raises fails its event.

    `fields` are the fields of JSON data that it reads with `event.field`, such as `user.plan`, `items[0].sku` or
    `user["odd.key"]`, or a function of the config that answers them. The daemon finds them; a plugin that names some
    gets no `data`, unless it says so."""
    state: dict[str, Any] = {}

    class Lifecycle(exports.Lifecycle):
        def configure(self, config: str, step: Step) -> _wit.Needs:
            try:
                settings = json.loads(config or "{}")
                state["judge"] = configure(settings, step)
                paths = state["paths"] = list(fields(settings) if callable(fields) else fields)
            except Exception as error:
                raise Err(str(error) or repr(error)) from error
            return _wit.Needs(fields=paths, data=not paths if data is None else data)

        def schema(self) -> Optional[str]:
            return json.dumps(schema) if schema else None

    class Transform(exports.Transform):
        def process(self, input: _wit.Batch) -> _wit.Outcome:
            columns = _Columns(input, state["paths"])
            judge = state["judge"]
            verdicts: list[_wit.Verdict] = []
            failures: list[_wit.Failure] = []
            rows: list[tuple[int, Event, Row]] = []
            changes: list[tuple[int, str, Any]] = []
            for index in range(len(input.times)):
                event = Event(columns, index)
                judged = _judged(judge, event)
                verdicts.append(judged.kind)
                changes.extend((index, path, value) for path, value in judged.changes)
                rows.extend((index, event, row) for row in judged.rows)
                if judged.failure is not None:
                    kind = _wit.FailureKind[judged.failure.kind.upper()]
                    failures.append(_wit.Failure(index, kind, str(judged.failure)))
            emitted = _rows(rows) if rows else None
            patches = _patches(changes) if changes else None
            return _wit.Outcome(verdicts=verdicts, patches=patches, emitted=emitted, failures=failures)

    return Lifecycle, Transform


def _judged(judge: Callable[[Event], Verdict], event: Event) -> Verdict:
    try:
        judged: Union[Verdict, Any] = judge(event)
    except Failure as failure:
        return Verdict(_wit.Verdict.FAIL, failure=failure)
    except Exception as error:
        return fail(str(error) or repr(error), "internal")
    if not isinstance(judged, Verdict):
        return fail("the plugin gave no verdict: return keep(), drop(), set(…), replace(…), emit(…) or fail(…)", "internal")
    return judged
