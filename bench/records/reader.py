"""Reader of records: the present schema, and older ones through their upgraders."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import RecordError
from bench.records.record import SCHEMA_VERSION, Record
from bench.records.upgrade import UPGRADERS, UpgradeError


def read(path: Path) -> Record:
    """Read one record; raises `RecordError` saying what is wrong with which file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"Record {path} cannot be read: {error}.") from error
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        raw = _parsed(path, content)
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if not isinstance(version, int) or version >= SCHEMA_VERSION:
            raise RecordError(_fault(path, version, error)) from error
    return _upgraded(path, raw, version)


def _upgraded(path: Path, raw: dict[str, Any], version: int) -> Record:
    try:
        while version < SCHEMA_VERSION:
            if version not in UPGRADERS:
                raise RecordError(f"Record {path} has the unknown schema version {version}.")
            raw, version = UPGRADERS[version](raw), version + 1
        return Record.model_validate_json(json.dumps(raw))
    except UpgradeError as error:
        raise RecordError(f"Record {path} is not valid at {error}.") from error
    except ValidationError as error:
        raise RecordError(_fault(path, SCHEMA_VERSION, error)) from error


def _parsed(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"Record {path} cannot be read: {error}.") from error


def _fault(path: Path, version: object, error: ValidationError) -> str:
    """What is wrong with a record, the cause before its consequences."""
    if isinstance(version, int) and version > SCHEMA_VERSION:
        return (
            f"Record {path} has schema version {version}, newer than the {SCHEMA_VERSION} that "
            "this program knows; update fwi-peft-bench."
        )
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "top level"
    return f"Record {path} is not valid at {where}: {first['msg']}."
