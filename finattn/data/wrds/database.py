"""From WRDS's PostgreSQL server to extracts, a Parquet file for each table."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from finattn.checks import as_day, first_line
from finattn.config.require import require
from finattn.config.wrds import WrdsConfig
from finattn.data.table_files import is_table, located, stem
from finattn.data.wrds.tables import Kind, Table, needed
from finattn.errors import InputError
from finattn.storage import atomic_file

CHUNK = 100_000  # rows that the server sends at a time
_TYPES = {"key": pa.int64(), "whole": pa.int64(), "number": pa.float64(), "text": pa.string(), "date": pa.date32()}
_MARK = b"finattn"  # key of a file's metadata that says what was asked for


class Fetched(NamedTuple):
    """What `fetch` did: the rows of each table that it read, and the tables whose extracts were there already.

    Examples
    --------
    Of a call that went on where another was interrupted, written down here as there is no server:

    >>> from finattn.data.wrds import Fetched
    >>> found = Fetched(Path("wrds"), rows={"stksecurityinfohist": 150, "funda": 900}, skipped=("msf_v2",))
    >>> sum(found.rows.values()), sorted([*found.rows, *found.skipped])
    (1050, ['funda', 'msf_v2', 'stksecurityinfohist'])
    """

    folder: Path
    rows: dict[str, int]
    skipped: tuple[str, ...]


def fetch(
    config: WrdsConfig, start: str | None, end: str | None, *, say: Callable[[str], None] | None = None
) -> Fetched:
    """Read the tables that a configuration needs from its database into its folder of extracts.

    Rows come in chunks. A file is whole or absent; one that holds the same columns and days is left as it is, so that
    what was interrupted goes on with the next table.

    Parameters
    ----------
    config : with `database` and `extracts`.
    start, end : first and last day of the stocks' rows, None for all there are; other tables are read whole.
    say : called with a line before and after each table.

    Raises
    ------
    InputError
        Where the server does not answer, a table or a column is not there or not permitted, the connection breaks, or
        a file is in the way that `fetch` did not write. No message holds a password.

    Examples
    --------
    >>> from finattn.config import WrdsConfig
    >>> from finattn.data import wrds
    >>> wrds.fetch(WrdsConfig(extracts="wrds"), "1990-01-01", "2023-12-31")
    Traceback (most recent call last):
    finattn.errors.InputError: data.wrds.database must be given, the URL of a server, found None
    """
    require("data.wrds.database", config.database, config.database is not None, "given, the URL of a server")
    require("data.wrds.extracts", config.extracts, config.extracts is not None, "given, a folder for the extracts")
    say = say or (lambda line: None)
    folder, rows, skipped = Path(str(config.extracts)), {}, []
    tables = [(table, _mark(table, start, end)) for table in needed(config)]
    there = {table.name for table, mark in tables if _is_there(folder, table, mark)}
    with _connection(str(config.database), len(there) < len(tables)) as connection:
        for table, mark in tables:
            if table.name in there:
                skipped.append(table.name)
                say(f"{table.name}: there already")
                continue
            say(f"{table.name}: reading {table.schema}.{table.name}")
            with _reading(table):
                rows[table.name] = _copy(connection, table, _query(table, start, end), folder, mark)
            say(f"{table.name}: {rows[table.name]} rows")
    return Fetched(folder, rows, tuple(skipped))


def _mark(table: Table, start: str | None, end: str | None) -> bytes:
    """Say what an extract holds, for its metadata."""
    content = {"table": f"{table.schema}.{table.name}", "columns": sorted(table.columns), "where": dict(table.where)}
    edges = {"start": start, "end": end} if table.date is not None else {}
    span = {name: None if edge is None else str(edge) for name, edge in edges.items()}
    return json.dumps(content | span).encode()


def _is_there(folder: Path, table: Table, mark: bytes) -> bool:
    """Say whether the extract of a table is what would be fetched.

    Raises
    ------
    InputError
        For a file that `fetch` did not write.
    """
    files = [path for path in sorted(folder.glob("*")) if is_table(path) and stem(path).lower() == table.name]
    own = folder / f"{table.name}.parquet"
    for path in files:
        with located(path):
            metadata = (pq.read_schema(path).metadata or {}) if path == own else {}
        if _MARK not in metadata:
            raise InputError(f"{path}: data.wrds.extracts must not hold other files of {table.name}, found this one")
    return bool(files) and metadata[_MARK] == mark


# -- the server ------------------------------------------------------------


@contextmanager
def _connection(url: str, is_needed: bool) -> Iterator[Any]:
    """Yield a connection, and none where nothing is to be read."""
    if not is_needed:
        yield None
        return
    try:
        import psycopg  # noqa: F401  # named here, where it is missing, and not by its own error
        import sqlalchemy as sa
    except ModuleNotFoundError as error:
        raise InputError(
            f"data.wrds.database must have SQLAlchemy and psycopg to read it (pip install 'finattn[wrds]'), found no "
            f"{error.name}"
        ) from None
    try:
        address = sa.make_url(url)
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(address, poolclass=sa.NullPool, connect_args={"connect_timeout": 30})
        connection = engine.connect()
    except (sa.exc.SQLAlchemyError, ValueError, TypeError) as error:
        raise InputError(f"data.wrds.database must be a server that lets us in, found {url}: {_line(error)}") from None
    with connection:
        yield connection


@contextmanager
def _reading(table: Table) -> Iterator[None]:
    """Make one line of what a server says against reading a table."""
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise InputError(
            f"data.wrds.database must have the table {table.schema}.{table.name} with columns "
            f"{', '.join(table.columns)}, and let us read it, found: {_line(error)}"
        ) from None


def _line(error: Exception) -> str:
    """Return the first line of what the server, or else the library, says."""
    return first_line(getattr(error, "orig", None) or error)


def _query(table: Table, start: str | None, end: str | None) -> Any:
    """Return the query of a table's rows; values are bound, never written into it."""
    import sqlalchemy as sa

    kinds: dict[Kind, Any] = {"number": sa.Double, "text": sa.Text, "date": sa.Date}
    kinds |= {"key": sa.BigInteger, "whole": sa.BigInteger}
    source = sa.table(table.name, *map(sa.column, table.columns), schema=table.schema)
    columns = [sa.cast(source.c[name], kinds[kind]).label(name) for name, (_, kind) in table.columns.items()]
    query: Any = sa.select(*columns)
    for name, value in table.where.items():
        query = query.where(source.c[name] == value)
    if table.date is not None:
        day = sa.cast(source.c[table.date], sa.Date)
        if start is not None:
            query = query.where(day >= as_day(start, last=False).item())
        if end is not None:
            query = query.where(day <= as_day(end, last=True).item())
    return query


def _copy(connection: Any, table: Table, query: Any, folder: Path, mark: bytes) -> int:
    """Write the rows of a query to a file, a chunk at a time, and return how many there were."""
    schema = pa.schema({name: _TYPES[kind] for name, (_, kind) in table.columns.items()}, metadata={_MARK: mark})
    count = 0
    with (
        connection.execution_options(yield_per=CHUNK).execute(query) as result,
        atomic_file(folder / f"{table.name}.parquet") as temporary,
        pq.ParquetWriter(temporary, schema) as writer,
    ):
        for rows in result.partitions():
            columns = zip(*rows, strict=True)
            arrays = [pa.array(list(column), kind) for column, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(rows)
    return count
