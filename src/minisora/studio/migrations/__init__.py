"""Versions of the tables, applied in order by Alembic when a database is opened."""
