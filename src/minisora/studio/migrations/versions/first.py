"""The first tables."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, ForeignKey, Integer, String

revision, down_revision = "first", None


def upgrade() -> None:
    _jobs()
    _library()


def _jobs() -> None:
    op.create_table(
        "jobs",
        Column("id", String, primary_key=True),
        Column("owner", String, nullable=False),
        Column("state", String, nullable=False),
        Column("verb", String, nullable=False),
        Column("request", JSON, nullable=False),
        Column("model", String, nullable=False),
        Column("format", String, nullable=False),
        Column("position", Float, nullable=False),
        Column("created_at", Float, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("started_at", Float),
        Column("finished_at", Float),
        Column("deleted_at", Float),
        Column("deadline_seconds", Float),
        Column("parent", String),
        Column("key", String),
        Column("fingerprint", String, nullable=False),
        Column("client", JSON, nullable=False),
        Column("made", JSON(none_as_null=True)),
        Column("failure", JSON(none_as_null=True)),
    )
    op.create_index("jobs_of_owner", "jobs", ["owner", "created_at", "id"])
    op.create_index("jobs_in_order", "jobs", ["created_at", "id"])
    op.create_index("jobs_by_state", "jobs", ["state"])
    op.create_index("jobs_by_position", "jobs", ["position"])
    op.create_index("jobs_by_key", "jobs", ["owner", "key"], unique=True)
    op.create_index("jobs_by_fingerprint", "jobs", ["owner", "fingerprint"])
    op.create_table(
        "media",
        Column("job_id", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        Column("sha256", String, primary_key=True),
    )
    op.create_table(
        "attempts",
        Column("job_id", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("worker", String, nullable=False),
        Column("started_at", Float, nullable=False),
        Column("ended_at", Float),
        Column("outcome", String, nullable=False),
    )


def _library() -> None:
    op.create_table(
        "items",
        Column("id", String, primary_key=True),
        Column("owner", String, nullable=False),
        Column("name", String, nullable=False),
        Column("sha256", String, nullable=False),
        Column("type", String, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("width", Integer, nullable=False),
        Column("height", Integer, nullable=False),
        Column("fps", Float, nullable=False),
        Column("num_frames", Integer, nullable=False),
        Column("created_at", Float, nullable=False),
        Column("is_upload", Boolean, nullable=False),
        Column("favourite", Boolean, nullable=False),
        Column("deleted_at", Float),
    )
    op.create_index("items_of_owner", "items", ["owner", "created_at", "id"])
    op.create_index("items_by_blob", "items", ["owner", "sha256"])
    op.create_table(
        "tags",
        Column("item_id", String, ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
        Column("tag", String, primary_key=True),
    )
    op.create_index("tags_by_name", "tags", ["tag"])
    op.create_table(
        "parents",
        Column("item_id", String, ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
        Column("parent_id", String, primary_key=True),
        Column("number", Integer, nullable=False),
    )
    op.create_index("parents_by_parent", "parents", ["parent_id"])
    op.create_table(
        "tokens",
        Column("id", String, primary_key=True),
        Column("name", String, nullable=False),
        Column("secret_sha256", String, nullable=False, unique=True),
        Column("created_at", Float, nullable=False),
        Column("is_admin", Boolean, nullable=False),
        Column("jobs_waiting", Integer),
        Column("bytes_kept", BigInteger),
        Column("calls_a_minute", Integer),
        Column("revoked_at", Float),
    )
