"""What can go wrong with a database, in words that name the ledger and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curveroute.agent.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError

_REMEDIES = (
    ("database is locked", "another process holds it: wait for that process or stop it, then try again"),
    ("disk is full", "the disk is full: free some space, then try again; nothing was half-written"),
    ("no space left", "the disk is full: free some space, then try again; nothing was half-written"),
    ("readonly database", "it is read-only: give write permission on the file and its folder"),
    ("read-only", "it is read-only: give write permission or choose another CURVEROUTE_LEDGER"),
    ("unable to open database file", "the file or its folder cannot be opened: choose a folder you can write to"),
    ("not a database", "the file is not a SQLite database: move it away or choose another CURVEROUTE_LEDGER"),
    ("malformed", "the file is damaged: move it away, recover it with sqlite3's .recover, or start a new one"),
    ("already exists", "it holds tables of another application: choose another CURVEROUTE_LEDGER"),
    ("foreign key", "an event names a run or attempt that was never recorded: record the run and the attempt first"),
    ("connection", "the server cannot be reached: check host, port and that it runs"),
)


def ledger_error(fault: SQLAlchemyError, shown: str) -> LedgerError:
    """The error of a user for one of the database; ``shown`` is the URL without its password."""
    said = str(getattr(fault, "orig", None) or fault).strip()
    lowered = said.lower()
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in lowered), "check the database and the URL")
    return LedgerError(f"ledger {shown}: {remedy} ({said.splitlines()[0] if said else type(fault).__name__})")
