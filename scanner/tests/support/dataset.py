"""What pyarrow, pandas and DuckDB each read of a folder of partitioned Parquet files, beside the CSV of the same scans.

    dataset.py FOLDER COLUMN CSV...

COLUMN is what the folder is parted by: port, which is the field sport of the CSV, or shard, which is the number of the
CSV among all. Prints one JSON object: how many rows there are, and for each reader how many differ, the type of COLUMN
and its values."""

import csv
import json
import sys

import duckdb
import pandas
import pyarrow.dataset

folder, column, *files = sys.argv[1:]
names, expected = None, []
for number, file in enumerate(files):
    names, *rows = csv.reader(open(file, newline=""))
    for row in rows:
        value = row[names.index("sport")] if column == "port" else str(number)
        expected.append((*row, value))
names = [*names, column]


def text(value):
    """A value as the CSV has it."""
    if value is None or value is pandas.NA:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)


def by_pyarrow():
    table = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table(columns=names)
    return str(table.schema.field(column).type), zip(*(column.to_pylist() for column in table.columns))


def by_pandas():
    frame = pandas.read_parquet(folder)[names]
    return str(frame.dtypes[column]), frame.itertuples(index=False)


def by_duckdb():
    source = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    query = f"SELECT {', '.join(names)} FROM {source}"
    types = {name: kind for name, kind, *_ in duckdb.execute(f"DESCRIBE {query}").fetchall()}
    return types[column], duckdb.execute(query).fetchall()


found = {"rows": len(expected)}
for name, read in [("pyarrow", by_pyarrow), ("pandas", by_pandas), ("duckdb", by_duckdb)]:
    kind, rows = read()
    rows = sorted(tuple(map(text, row)) for row in rows)
    differing = abs(len(rows) - len(expected)) + sum(one != other for one, other in zip(rows, sorted(expected)))
    found[name] = {"type": kind, "differing": differing, "values": sorted({int(row[-1]) for row in rows})}
print(json.dumps(found))
