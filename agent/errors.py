"""Everything curveroute raises on purpose, split by when it goes wrong.

::

    CurverouteError
    ├── SetupError          your configuration: nothing was sent, nothing was spent
    │   ├── SettingError        a value outside its range (tradeoff, cap, flag)
    │   ├── PoolError           an unknown pool or model, or a malformed pool file
    │   ├── MissingKey          a hosted model without its key in the environment
    │   ├── MissingExtra        a part that is not installed
    │   ├── PredictorError      a predictor that is damaged or was made for another embedder or pool
    │   ├── TableError          a curve table or task file with a fault in it
    │   ├── WeightsError        weights that cannot be fetched, stored or trusted
    │   ├── LedgerError         a ledger that cannot be opened, migrated or written
    │   └── CheckpointError     a checkpoint of another version that this one cannot read
    └── RunError            the world: a query, a cap, an endpoint
        ├── QueryError          nothing to answer, or more than any model can read
        │   └── CapabilityError     tools, images or JSON, and no model on offer that can
        ├── CapTooSmall         no arm fits under the run's cap
        │   └── ApprovalRefused     nor under what a person allowed
        ├── ModelCallError      a call that failed for good after its retries
        ├── LocalServerError    a local model server that does not start or does not stay
        ├── EmbedError          text that could not be embedded
        ├── StreamBroken        an answer that was cut off after a part of it was shown
        ├── SchemaUnmet         an answer that does not satisfy the schema it was asked for
        └── AllArmsFailed       every arm that was tried failed

Each message names the value and the remedy, and holds no secret.
"""

from __future__ import annotations

_LONGEST_VALUE = 120


def shown(value: object) -> str:
    """A value as an error names it: cut where it is long, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a stranger's value may do anything, and a number of 5,000 digits has no text
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


class CurverouteError(Exception):
    """Base of all errors that curveroute raises on purpose."""


class SetupError(CurverouteError):
    """Your configuration: nothing was sent and nothing was spent."""


class SettingError(SetupError):
    """A setting or flag outside its range."""


class PoolError(SetupError):
    """An unknown pool or model, or a malformed pool file."""


class MissingKey(SetupError):
    """A hosted model whose key variable is not set."""


class MissingExtra(SetupError):
    """A part of curveroute that is not installed.

    Args:
        part: what was asked for, in the user's words.
        extra: the extra that brings it.
    """

    def __init__(self, part: str, extra: str) -> None:
        super().__init__(f'{part} needs an extra: pip install "curveroute[{extra}]"')
        self.extra = extra


class PredictorError(SetupError):
    """A predictor folder that is damaged, or was made for another embedder or pool."""


class TableError(SetupError):
    """A curve table or a task file with a fault in it."""


class WeightsError(SetupError):
    """Weights that cannot be fetched, stored or trusted."""


class LedgerError(SetupError):
    """A ledger that cannot be opened, migrated or written."""


class CheckpointError(SetupError):
    """A checkpoint that another version of curveroute wrote, in a shape that this one cannot read."""


class RunError(CurverouteError):
    """The world: a query, a cap, an endpoint."""


class QueryError(RunError):
    """A query with nothing to answer, or longer than any model can read."""


class CapabilityError(QueryError):
    """A query that needs what no model on offer can do: call tools, see images, keep to a JSON schema."""


class CapTooSmall(RunError):
    """No arm's worst case fits under the run's cap."""


class ApprovalRefused(CapTooSmall):
    """A person refused what would have been asked, and no arm fits under what needs no approval."""


class ModelCallError(RunError):
    """A model call that failed for good.

    Args:
        message: what failed, with the remedy.
        status: HTTP status, where the server gave one.
        lost_tries: requests that may have been served (and billed) although no answer came back.
    """

    def __init__(self, message: str, *, status: int | None = None, lost_tries: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.lost_tries = lost_tries


class LocalServerError(RunError):
    """A local model server that does not start or does not stay."""


class EmbedError(RunError):
    """Text that could not be embedded."""


class StreamBroken(RunError):
    """An answer that was cut off after a part of it was shown, so that no other could take its place."""


class SchemaUnmet(RunError):
    """The best answer does not satisfy the schema that it was asked for."""


class AllArmsFailed(RunError):
    """Every arm that was tried failed; the message holds each one's error."""
