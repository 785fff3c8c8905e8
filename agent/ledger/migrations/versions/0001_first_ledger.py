"""The first ledger: runs, attempts, verdicts, decisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the four tables."""
    _make_runs()
    _make_attempts()
    _make_verdicts()
    _make_decisions()


def downgrade() -> None:
    """Drop the four tables, children first."""
    for table in ("decisions", "verdicts", "attempts", "runs"):
        op.drop_table(table)


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("pool", sa.String(), nullable=False),
        sa.Column("query_text", sa.String(), nullable=False),
        sa.Column("query_sha256", sa.String(), nullable=False),
        sa.Column("tradeoff", sa.Float(), nullable=False),
        sa.Column("max_cost_usd", sa.Float()),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("answer", sa.String()),
        sa.Column("answer_attempt_id", sa.String()),
        sa.Column("model", sa.String()),
        sa.Column("budget", sa.BigInteger()),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("collection", sa.String()),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("plan", sa.JSON()),
        sa.Column("candidates", sa.JSON()),
    )
    op.create_index("ix_runs_kind_created_at", "runs", ["kind", "created_at"])
    op.create_index("ix_runs_collection", "runs", ["collection"])


def _make_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("attempt_id", sa.String(), primary_key=True),
        sa.Column("run_id", sa.String(), sa.ForeignKey("runs.run_id"), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("budget", sa.BigInteger()),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("answer", sa.String()),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("input_price", sa.Float(), nullable=False),
        sa.Column("output_price", sa.Float(), nullable=False),
        sa.Column("cached_input_price", sa.Float(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("finish_reason", sa.String(), nullable=False),
        sa.Column("latency_s", sa.Float(), nullable=False),
        sa.Column("error", sa.String()),
        sa.Column("confidence", sa.Float()),
        sa.Column("query_id", sa.String()),
        sa.Column("query", sa.String()),
        sa.Column("task", sa.String()),
        sa.Column("sample", sa.BigInteger()),
        sa.Column("quality", sa.Float()),
        sa.Column("reference", sa.String()),
        sa.Column("prompt_style", sa.String()),
    )
    op.create_index("ix_attempts_run_id_seq", "attempts", ["run_id", "seq"])


def _make_verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("attempt_id", sa.String(), sa.ForeignKey("attempts.attempt_id"), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("signals", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_verdicts_attempt_id", "verdicts", ["attempt_id"])


def _make_decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.String(), sa.ForeignKey("runs.run_id"), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("arms", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("status", sa.String()),
        sa.Column("committed", sa.Boolean(), nullable=False),
        sa.Column("rejected", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_decisions_run_id_step", "decisions", ["run_id", "step"])
