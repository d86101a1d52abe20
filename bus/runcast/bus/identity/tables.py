"""Reads a TOML table into a record, field by field, so that all its problems are told at once and each says where it is.

A record is a `msgspec.Struct` with keyword fields; bounds are its annotations. No key that is not a field passes: a misspelt limit or
audience must not be taken for none.
"""

import difflib
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def read_table(kind: type[T], table: Any, where: str, problems: list[str]) -> T | None:
    """Read `kind` from a table of a TOML file.

    Args:
        kind: the record.
        table: what TOML gave.
        where: the table's name, for the problems.
        problems: each problem is added to it.

    Returns:
        None when there was a problem.
    """
    if not isinstance(table, dict):
        problems.append(f"{where}: expected a table")
        return None
    before = len(problems)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key in table.keys() - fields.keys():
        near = difflib.get_close_matches(key, fields, n=1)
        problems.append(f"{where}: {key!r} is no setting" + (f"; did you mean {near[0]}?" if near else f"; there are {', '.join(fields)}"))
    values = {}
    for name, field in fields.items():
        if name in table:
            try:
                values[name] = msgspec.convert(table[name], field.type)
            except msgspec.ValidationError as exc:
                problems.append(f"{where}: {name}: {exc}")
        elif field.required:
            problems.append(f"{where}: {name} is missing")
    return kind(**values) if len(problems) == before else None


def read_tables(kind: type[T], tables: Any, where: str, problems: list[str]) -> list[T]:
    """Read a list of tables, `[[where]]`; those with problems are left out. See `read_table`."""
    if not isinstance(tables, list):
        problems.append(f"[[{where}]]: expected a list of tables, each under its own [[{where}]]")
        return []
    records = [read_table(kind, table, f"[[{where}]] no. {number}", problems) for number, table in enumerate(tables, 1)]
    return [record for record in records if record is not None]
