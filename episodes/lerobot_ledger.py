# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The ledger of a LeRobotDataset that we write, ``meta/apprentice.jsonl``: what is in it, and made from what.

The first line says what all episodes have in common. Each further one is an episode, appended when its files
are on the disk; the last line of a slot counts. ``{"index": null}`` stands before the index of the dataset is
made, ``{"index": HASH}`` after it, so that a change by another program is seen.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from apprentice.episodes.files import sync_folder
from apprentice.episodes.lerobot_meta import INFO, LeRobotDatasetError, read_table
from apprentice.episodes.lerobot_stats import Stats
from apprentice.robot.files import sha256

LEDGER = Path('meta') / 'apprentice.jsonl'
EPISODES = Path('meta') / 'episodes' / 'chunk-000' / 'file-000.parquet'
CHUNK = 1000  # files of a folder
DATA_PATH = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
_FORMAT = 1
_OURS = (INFO, Path('data'), Path('videos'))  # what is written, and tidied up, in the folder


@dataclass(frozen=True)
class Entry:
    """One episode in the folder.

    Attributes:
        slot: number of its files; stays when episodes before it are removed.
        episode_id: unique in the folder.
        source: what it was made from, to see when that changes.
        task: its instruction; ``length`` in frames.
        videos: feature -> (number of the mp4 file, first second, last second).
        stats: feature -> statistics; of the index columns when the index is made.
        removed: its files are gone, its number is not used again.
    """

    slot: int
    episode_id: str
    source: dict[str, Any] = field(default_factory=dict)
    task: str = ''
    length: int = 0
    videos: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    stats: dict[str, Stats] = field(default_factory=dict)
    removed: bool = False


class Ledger:
    """The ledger of ``folder``, open and locked; made when missing.

    Args:
        common: fps, robot_type and features of all episodes.

    Attributes:
        entries: slot -> episode, removed ones too.

    Raises LeRobotDatasetError for a dataset without one, for one with other columns, for one that another
    program changed, and while another process writes it.
    """

    def __init__(self, folder: Path, common: dict[str, Any]):
        self.folder, self.path = folder, folder / LEDGER
        taken = [str(name) for name in _OURS if (folder / name).exists()]
        if taken and not self.path.exists():
            raise LeRobotDatasetError(
                f'{folder} was written by something else ({", ".join(taken)}), it is not changed; '
                'export to a new folder, and join datasets with apprentice dataset merge'
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = open(self.path, 'a+b')  # noqa: SIM115 - closed by close
        try:
            try:
                fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise LeRobotDatasetError(
                    f'{folder} is being written by another process; wait for it'
                ) from None
            self.entries: dict[int, Entry] = {}
            if _changed(folder, self._load({'format': _FORMAT, **common})):
                raise LeRobotDatasetError(
                    f'{folder} was changed by another program since it was exported; it is left as it is: '
                    'export to a new folder, and join both with apprentice dataset merge'
                )
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        self._stream.close()

    def commit(self, entry: Entry) -> None:
        """Note an episode whose files are on the disk, or new facts about one."""
        self._append(asdict(entry))
        self.entries[entry.slot] = entry

    def begin_index(self) -> None:
        """The index is being made: what is killed from here on is repaired by making it again."""
        self._append({'index': None})

    def end_index(self) -> None:
        """The index is whole and on the disk."""
        self._append({'index': index_hash(self.folder)})

    def _append(self, content: dict[str, Any]) -> None:
        self._stream.write(json.dumps(content).encode() + b'\n')
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _load(self, head: dict[str, Any]) -> list[dict[str, Any]]:
        """Fills ``entries``; returns the lines after the first."""
        self._stream.seek(0)
        text = self._stream.read()
        whole, _, torn = text.rpartition(b'\n')
        if torn:  # killed in the middle of a line
            self._stream.truncate(len(whole) + 1 if whole else 0)
        if not whole:
            self._stream.truncate(0)
            self._append(head)
            sync_folder(self.path.parent)
            return []
        found, *lines = _parsed(self.path, whole.decode(errors='replace'))
        self.entries = _entries(self.path, lines)
        different = [name for name in head if found.get(name) != head[name]]
        if different:
            raise LeRobotDatasetError(
                f'{self.folder} holds episodes with other {", ".join(different)} '
                f'({_difference(found, head)}); export to a new folder'
            )
        return lines


def place(number: int) -> dict[str, int]:
    """Where the files of a slot lie, for ``DATA_PATH``."""
    return {'chunk_index': number // CHUNK, 'file_index': number % CHUNK}


def index_hash(folder: Path) -> str:
    """Of ``meta/info.json`` and ``meta/episodes``: everybody who adds episodes changes them."""
    digest = hashlib.sha256()
    for path in [folder / INFO, *sorted((folder / 'meta' / 'episodes').rglob('*.parquet'))]:
        if path.exists():
            digest.update(f'{path.relative_to(folder)} {sha256(path)}\n'.encode())
    return digest.hexdigest()


def read_ledger(folder: Path) -> list[Entry]:
    """Episodes that the ledger of a dataset names, in their order; none where there is no ledger."""
    return _read(folder)[0]


def own_entries(folder: Path) -> list[Entry]:
    """As :func:`read_ledger`, but none where another program has changed the dataset since."""
    entries, lines = _read(folder)
    return [] if _changed(folder, lines) else entries


def _read(folder: Path) -> tuple[list[Entry], list[dict[str, Any]]]:
    path = folder / LEDGER
    if not path.exists():
        return [], []
    text = path.read_text(errors='replace')
    lines = _parsed(path, text[: text.rfind('\n') + 1])[1:]  # the last line may be half written
    return [entry for entry in _entries(path, lines).values() if not entry.removed], lines


def _parsed(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        return [dict(json.loads(line)) for line in text.splitlines()]
    except (ValueError, TypeError) as error:
        raise _damaged(path, error) from None


def _entries(path: Path, lines: list[dict[str, Any]]) -> dict[int, Entry]:
    try:
        found = [Entry(**line) for line in lines if 'index' not in line]
    except TypeError as error:
        raise _damaged(path, error) from None
    return {entry.slot: entry for entry in found}


def _damaged(path: Path, error: Exception) -> LeRobotDatasetError:
    return LeRobotDatasetError(f'{path} is damaged ({error}); export to a new folder')


def _changed(folder: Path, lines: list[dict[str, Any]]) -> bool:
    """Whether something else has written to the dataset since the last of these lines."""
    if not (folder / INFO).exists():
        return False
    index = next((line['index'] for line in reversed(lines) if 'index' in line), None)
    if index is not None:
        return bool(index != index_hash(folder))
    # killed while the index was made, or written before there were hashes: all its rows must be ours
    files = sorted((folder / 'meta' / 'episodes').rglob('*.parquet'))
    if any(path != folder / EPISODES for path in files):
        return True
    written = {(line['slot'], line.get('length', 0)) for line in lines if 'slot' in line}
    keys = ['data/chunk_index', 'data/file_index', 'length']
    seen = set()
    for path in files:
        for row in read_table(path, columns=keys).to_pylist():
            slot = row[keys[0]] * CHUNK + row[keys[1]]
            if slot in seen or (slot, row['length']) not in written:
                return True
            seen.add(slot)
    return False


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    there, new = found.get('features', {}), wanted['features']
    if there == new:
        return ', now '.join(f'{d.get("robot_type")} at {d.get("fps")} Hz' for d in (found, wanted))
    names = sorted(name for name in {*there, *new} if there.get(name) != new.get(name))
    return f'columns {names}'
