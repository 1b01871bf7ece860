"""What an emulator remembers: records in SQLite, so that `--state` survives a restart, even after SIGKILL."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

_VERSION = 1
_SCHEMA = "CREATE TABLE IF NOT EXISTS records (kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id))"


@dataclasses.dataclass
class Record:
    """Something to remember. Derived classes add fields that JSON can hold, each with a default."""

    id: str
    """What it is kept under."""


R = TypeVar("R", bound=Record)


class StoreError(Exception):
    """The state directory cannot be used; the text says why."""


class Store:
    """One file of records; in memory without a path. Every change is on disk when the method returns."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        if path is not None:
            # Keys and secrets are in it, also where others may look into the directory.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise StoreError(
                    f"{path} is of version {version}, this emulator's is {_VERSION}: use another directory"
                )
            self._connection.execute(_SCHEMA)
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path} cannot be used as the emulator's state: {error}") from error

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._connection.close()

    def load(self, kind: str) -> list[dict[str, Any]]:
        """All records of a kind, in the order they were made."""
        rows = self._connection.execute("SELECT body FROM records WHERE kind = ? ORDER BY rowid", (kind,))
        return [json.loads(body) for (body,) in rows]

    def save(self, kind: str, key: str, body: dict[str, Any]) -> None:
        """Make or change a record."""
        self._connection.execute(
            "INSERT INTO records VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            (kind, key, json.dumps(body)),
        )

    def delete(self, kind: str, key: str) -> None:
        """Remove a record, if there is one."""
        self._connection.execute("DELETE FROM records WHERE kind = ? AND id = ?", (kind, key))


class Table(Generic[R]):
    """The records of one kind, in memory and in the store: `put` after every change."""

    def __init__(self, store: Store, kind: str, record: type[R]) -> None:
        self._store = store
        self._kind = kind
        self._records: dict[str, R] = {}
        known = {field.name for field in dataclasses.fields(record)}
        for body in store.load(kind):
            made = record(**{name: value for name, value in body.items() if name in known})
            self._records[made.id] = made

    def __iter__(self) -> Iterator[R]:
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: str) -> R | None:
        """The record with this id."""
        return self._records.get(key)

    def put(self, record: R) -> R:
        """Keep a new record, or what was changed in one; returns it."""
        self._records[record.id] = record
        self._store.save(self._kind, record.id, dataclasses.asdict(record))
        return record

    def remove(self, key: str) -> None:
        """Forget a record, if there is one."""
        self._records.pop(key, None)
        self._store.delete(self._kind, key)
