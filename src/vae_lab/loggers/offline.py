"""What a run has logged to W&B offline already, read from W&B's own files.

They are logs as LevelDB writes them: blocks of 32 KiB, of records that go on in the next block.
"""

import json
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

BLOCK = 32768
FILE_HEADER, RECORD_HEADER = 7, 7  # bytes; a record's are a checksum, its length and its kind
WHOLE, LAST = 1, 4  # kinds of a record at which it ends; others go on


def mended_history(save_dir: Path, run_id: str) -> Iterator[dict[str, Any]]:
    """The rows that earlier attempts of a run logged offline, in order, by metric.

    A file whose last record was cut off, as a kill leaves it, is cut after the one before: `wandb
    sync` would refuse it, and all that came later. So is one before a record that cannot be parsed;
    other damage, which W&B's own sums alone would show, stays. Nobody may write to these files any
    more. An image or a histogram is some value.

    Args:
        save_dir: The folder that holds W&B's folder.
        run_id: W&B's name for the run.
    """
    record_type = import_module("wandb.proto.wandb_internal_pb2").Record
    for path in sorted(save_dir.glob(f"wandb/offline-run-*-{run_id}/run-{run_id}.wandb")):
        content, whole = path.read_bytes(), FILE_HEADER
        with suppress(Exception):  # of a damaged record
            for record, end in _records(content):
                items = record_type.FromString(record).history.item
                row = {
                    item.key or item.nested_key[0]: json.loads(item.value_json) for item in items
                }
                whole = end
                if row:
                    yield row
            if whole < len(content):
                os.truncate(path, whole)


def _records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Each whole record, and where it ends."""
    at, record = FILE_HEADER, b""
    while at + RECORD_HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < RECORD_HEADER:  # a header does not go on in the next block
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        end = at + RECORD_HEADER + length
        record += content[at + RECORD_HEADER : end]
        if kind in (WHOLE, LAST) and end <= len(content):
            yield record, end
            record = b""
        at = end
