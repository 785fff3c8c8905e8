"""Opening a ledger: a connection on which the schema is the one this version knows.

A ledger that is up to date costs one query. Otherwise it is migrated inside one transaction that holds the database's
own lock, so that of two processes that start at once one migrates and the other finds it done.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from curveroute.agent.errors import LedgerError
from curveroute.agent.ledger.faults import ledger_error
from curveroute.agent.ledger.migrations import HEAD, REVISIONS, VERSION_TABLE

if TYPE_CHECKING:
    import sqlite3

    from alembic.config import Config
    from sqlalchemy import URL, Connection, Engine

BUSY_TIMEOUT_S = 10.0
_MIGRATION_LOCK = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(3710945226)"}
_COMPACT = json.JSONEncoder(separators=(",", ":")).encode
_WAL_TRIES = 20
_LONGEST_LOG_PAGES = 16_000  # a backstop: the scribe checkpoints sooner, when nobody waits


def open_connection(url: str) -> Connection:
    """A connection to the ledger at ``url``, made and migrated where needed.

    Raises:
        LedgerError: it cannot be opened, is no ledger, or was written by a newer version.
    """
    parsed = _parsed(url)
    engine = _engine(parsed)
    try:
        connection = engine.connect()
    except SQLAlchemyError as fault:
        raise ledger_error(fault, shown(parsed)) from fault
    try:
        _bring_up_to_date(connection, shown(parsed))
    except SQLAlchemyError as fault:
        connection.close()
        raise ledger_error(fault, shown(parsed)) from fault
    except BaseException:
        connection.close()
        raise
    return connection


def shown(url: URL) -> str:
    """The URL as it may be shown: without its password."""
    return url.render_as_string(hide_password=True)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as fault:
        raise LedgerError(
            "the ledger's address is not a database URL: write CURVEROUTE_LEDGER like sqlite:///path/to/ledger.sqlite"
        ) from fault
    if parsed.get_backend_name() not in _MIGRATION_LOCK:
        raise LedgerError(f"ledger {shown(parsed)}: choose sqlite:/// or postgresql://, no other database is known")
    _make_folder(parsed)
    return parsed


def _make_folder(url: URL) -> None:
    path = url.database or ""
    if url.get_backend_name() != "sqlite" or path in {"", ":memory:"} or path.startswith("file:"):
        return
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise LedgerError(f"the ledger's folder {folder} cannot be made: choose one you can write to") from fault


def _engine(url: URL) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    # IMMEDIATE: a writing transaction takes its lock at its first statement, where waiting helps.
    arguments = {"isolation_level": "IMMEDIATE", "timeout": BUSY_TIMEOUT_S} if sqlite else {}
    try:
        engine = create_engine(
            url,
            poolclass=NullPool,
            connect_args=arguments,
            json_serializer=_COMPACT,
            hide_parameters=True,  # they are what users asked, and errors go into logs and traces
        )
    except (ImportError, SQLAlchemyError) as fault:
        remedy = 'pip install "psycopg[binary]" and write postgresql+psycopg://'
        raise LedgerError(f"ledger {shown(url)}: its driver is missing ({fault}): {remedy}") from fault
    if engine.dialect.is_async:
        raise LedgerError(f"ledger {shown(url)}: choose a synchronous driver, such as postgresql+psycopg")
    if sqlite:
        event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint={_LONGEST_LOG_PAGES}")
    _turn_on_wal(connection)


def checkpoint(connection: Connection) -> None:
    """Copy SQLite's write-ahead log into the database, as far as no reader is in the way."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        connection.rollback()


def _turn_on_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging, waiting for whoever else is switching.

    SQLite does not wait by itself when journal modes change, but it does for a transaction.
    """
    import sqlite3

    for tries_left in reversed(range(_WAL_TRIES)):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as fault:
            if tries_left == 0 or "locked" not in str(fault):
                raise
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        else:
            return


def _bring_up_to_date(connection: Connection, where: str) -> None:
    version = _version(connection, where)
    connection.rollback()
    if version == HEAD:
        return
    with connection.begin():
        connection.exec_driver_sql(_MIGRATION_LOCK[connection.dialect.name])
        if _version(connection, where) != HEAD:
            upgrade(connection)


def _version(connection: Connection, where: str) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608
    if version is not None and version not in REVISIONS:
        raise LedgerError(
            f"ledger {where} has schema {version!r}, this curveroute knows up to {HEAD!r}: "
            "it was written by a newer one; upgrade curveroute or choose another CURVEROUTE_LEDGER"
        )
    return version


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Migrate up to ``revision`` inside the caller's transaction."""
    from alembic import command

    command.upgrade(migration_config(connection=connection), revision)


def migration_config(**attributes: object) -> Config:
    """Alembic's configuration, without a file."""
    from alembic.config import Config

    config = Config(attributes=attributes)
    config.set_main_option("script_location", "curveroute.agent.ledger:migrations")
    config.set_main_option("path_separator", "os")
    return config
