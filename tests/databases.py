"""A clean, migrated database for each test: a copied SQLite file, or PostgreSQL by PAYFLOW_TEST_DATABASE_URL.

On PostgreSQL a database of its own is made beside the named one for the whole run, emptied after each test and dropped
at the end; the named database itself is never touched.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from payflow import migrations
from payflow.models import Base
from payflow.store.engine import make_engine, normalise


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a migrated database: a template file, or the run's own PostgreSQL database."""
    template = tmp_path_factory.mktemp("database") / "template.db"
    with new_database(template) as url:
        engine = make_engine(url)
        migrations.upgrade(engine)
        engine.dispose()
        yield url if url.startswith("postgresql") else str(template)


@contextmanager
def new_database(file: Path) -> Iterator[str]:
    """The address of an empty database: this file, or one of its own on PostgreSQL, dropped at the end."""
    named = os.environ.get("PAYFLOW_TEST_DATABASE_URL")
    if not named:
        yield f"sqlite:///{file}"
        return
    own = f"payflow_test_{uuid.uuid4().hex[:12]}"
    server = create_engine(normalise(named), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{own}"'))
    yield make_url(normalise(named)).set(database=own).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{own}" WITH (FORCE)'))
    server.dispose()


@contextmanager
def clean_database(migrated_database: str, folder: Path) -> Iterator[str]:
    """The address of a clean database; one at a time on PostgreSQL."""
    if "://" not in migrated_database:
        path = folder / "payflow.db"
        shutil.copy(migrated_database, path)
        yield f"sqlite:///{path}"
        return
    yield migrated_database
    engine = create_engine(migrated_database)
    tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {tables}"))
    engine.dispose()


@pytest.fixture
def database_url(migrated_database: str, tmp_path: Path) -> Iterator[str]:
    """A clean database for one test."""
    with clean_database(migrated_database, tmp_path) as url:
        yield url
