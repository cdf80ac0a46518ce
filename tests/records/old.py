"""Records of earlier schemas, and one to build others from."""

from pathlib import Path

from bench.records.reader import read
from bench.records.record import Record

FOLDER = Path(__file__).parent / "old_records"
SCHEMA_1 = FOLDER / "schema_1.json"
"""Of a fit of lora on Style_A, scored on the four targets."""
SCHEMA_1_PRETRAINING = FOLDER / "schema_1_pretraining.json"
SCHEMA_1_VALIDATION = FOLDER / "schema_1_validation.json"
"""Of a fit that kept the validation part out of training and was scored on it."""


def template() -> Record:
    """A record with all its parts, of the present schema."""
    return read(SCHEMA_1)
