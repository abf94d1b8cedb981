"""Tables of the database, as the newest migration leaves them. Times are Unix seconds.

Here: the columns. Not here: changes between versions (migrations/), statements (store.py).
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
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
    Column("key", String),  # null if there is none, so that it may be unique
    Column("fingerprint", String, nullable=False),
    Column("client", JSON, nullable=False),
    Column("made", JSON(none_as_null=True)),
    Column("failure", JSON(none_as_null=True)),
    Column("remote", JSON(none_as_null=True)),
    Index("jobs_of_owner", "owner", "created_at", "id"),
    Index("jobs_in_order", "created_at", "id"),
    Index("jobs_by_state", "state"),
    Index("jobs_by_position", "position"),
    Index("jobs_by_key", "owner", "key", unique=True),
    Index("jobs_by_fingerprint", "owner", "fingerprint"),
)

media = Table(  # blobs that a job's request names
    "media",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String, primary_key=True),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("worker", String, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("outcome", String, nullable=False),
)

items = Table(
    "items",
    metadata,
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
    Index("items_of_owner", "owner", "created_at", "id"),
    Index("items_by_blob", "owner", "sha256"),
)

tags = Table(
    "tags",
    metadata,
    Column("item_id", String, ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", String, primary_key=True),
    Index("tags_by_name", "tag"),
)

parents = Table(  # no foreign key: a parent may be purged
    "parents",
    metadata,
    Column("item_id", String, ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("parent_id", String, primary_key=True),
    Column("number", Integer, nullable=False),
    Index("parents_by_parent", "parent_id"),
)

tokens = Table(
    "tokens",
    metadata,
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

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("url", String, nullable=False),
    Column("events", JSON, nullable=False),
    Column("secret", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("last_at", Float),
    Column("last_outcome", String),
    Index("webhooks_of_owner", "owner", "created_at"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String, primary_key=True),
    Column("webhook_id", String, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("body", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Index("deliveries_by_time", "next_at"),
    Index("deliveries_of_webhook", "webhook_id", "created_at"),
)
