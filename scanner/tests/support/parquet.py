"""What pyarrow, pandas, DuckDB and ClickHouse each read of Parquet files, beside the CSV of the same scan.

    parquet.py CSV PARQUET...

Prints one JSON object: for each reader the types of the columns, and how many rows differ from those of the CSV; and the
metadata of the first file."""

import csv
import datetime
import json
import sys

import chdb
import duckdb
import pandas
import pyarrow.parquet


def text(value):
    """A value as the CSV has it."""
    if value is None or value is pandas.NA:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, datetime.datetime):
        assert value.utcoffset() == datetime.timedelta(0), value
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)


def lines(rows):
    return sorted(tuple(map(text, row)) for row in rows)


def by_pyarrow(files):
    table = pyarrow.concat_tables(pyarrow.parquet.read_table(file) for file in files)
    types = {field.name: str(field.type) for field in table.schema}
    return types, zip(*(column.to_pylist() for column in table.columns))


def by_pandas(files):
    frame = pandas.concat(pandas.read_parquet(file, dtype_backend="pyarrow") for file in files)
    return frame.dtypes.astype(str).to_dict(), frame.itertuples(index=False)


def by_duckdb(files):
    described = duckdb.execute("DESCRIBE SELECT * FROM read_parquet(?)", [files]).fetchall()
    types = {name: kind for name, kind, *_ in described}
    # As numbers: DuckDB gives a time the zone of the machine.
    quoted = [(f'"{name}"', kind) for name, kind in types.items()]
    columns = [f"epoch_us({name})" if kind.startswith("TIMESTAMP") else name for name, kind in quoted]
    rows = duckdb.execute(f"SELECT {', '.join(columns)} FROM read_parquet(?)", [files]).fetchall()
    times = {place for place, column in enumerate(columns) if column.startswith("epoch_us")}
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

    def typed(place, value):
        return epoch + datetime.timedelta(microseconds=value) if place in times else value

    return types, (tuple(typed(place, value) for place, value in enumerate(row)) for row in rows)


def by_clickhouse(files):
    place = files[0] if len(files) == 1 else "{" + ",".join(files) + "}"
    settings = "SETTINGS date_time_output_format = 'iso', output_format_json_quote_64bit_integers = 0"

    def rows(what):
        answer = chdb.query(f"{what} file('{place}', Parquet) {settings} FORMAT JSONCompactEachRow")
        return map(json.loads, answer.bytes().decode().splitlines())

    return {name: kind for name, kind, *_ in rows("DESCRIBE")}, rows("SELECT * FROM")


expected = sorted(map(tuple, list(csv.reader(open(sys.argv[1], newline="")))[1:]))
files = sys.argv[2:]
found = {"rows": len(expected)}
for name, read in [("pyarrow", by_pyarrow), ("pandas", by_pandas), ("duckdb", by_duckdb), ("clickhouse", by_clickhouse)]:
    types, rows = read(files)
    rows = lines(rows)
    differing = abs(len(rows) - len(expected)) + sum(one != other for one, other in zip(rows, expected))
    found[name] = {"types": types, "differing": differing}
first = pyarrow.parquet.ParquetFile(files[0])
pairs = {key.decode(): value.decode() for key, value in first.metadata.metadata.items()}
found["metadata"] = {key: json.loads(value) for key, value in pairs.items()}
in_duckdb = duckdb.execute("SELECT decode(key), decode(value) FROM parquet_kv_metadata(?)", [files[0]]).fetchall()
found["same_metadata_in_duckdb"] = dict(in_duckdb) == pairs
found["compression"] = first.metadata.row_group(0).column(0).compression
print(json.dumps(found))
