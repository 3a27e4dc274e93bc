# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A dataset folder made ready for others: copied with a card, and uploaded only where that is asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from apprentice.episodes.lerobot_ledger import LEDGER, index_hash
from apprentice.episodes.lerobot_meta import LeRobotDatasetError, LeRobotMeta
from apprentice.robot.files import replacing, write_text

CARD = 'README.md'
MARK = Path('meta') / 'apprentice_copy.json'  # in a copy of ours; hash of its index once it is whole


def card(meta: LeRobotMeta, licence: str) -> str:
    """The card of a dataset, as the hub reads it: YAML, then text."""
    head = {
        'license': licence,
        'task_categories': ['robotics'],
        'tags': ['LeRobot', 'apprentice'],
        'configs': [{'config_name': 'default', 'data_files': 'data/*/*.parquet'}],
    }
    frames = sum(episode.length for episode in meta.episodes)
    lines = [
        f'# {meta.folder.name}',
        '',
        f'{len(meta.episodes)} episodes, {frames} frames at {meta.fps:g} Hz '
        f'({frames / meta.fps / 3600:.2f} hours) of robot `{meta.robot_type}`, LeRobotDataset v3.0.',
        '',
        '| column | type | shape |',
        '|---|---|---|',
        *(f'| `{name}` | {f["dtype"]} | {list(f["shape"])} |' for name, f in meta.features.items()),
        '',
        'Instructions:',
        '',
        *(f'- {task}' for task in sorted(set(meta.tasks.values()))),
    ]
    return f'---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n' + '\n'.join(lines) + '\n'


def copy_dataset(folder: str | Path, target: str | Path, licence: str = 'apache-2.0') -> int:
    """Copy a dataset whose index is whole, with a card; files that are there already are not copied again.

    Returns the bytes copied. A card that somebody wrote stays.

    Raises LeRobotDatasetError for a damaged dataset, for a target that is neither empty nor such a copy, and
    for a copy that another program has changed since.
    """
    folder, target = Path(folder), Path(target)
    meta = LeRobotMeta.load(folder)
    if target.resolve() == folder.resolve() or folder.resolve() in target.resolve().parents:
        raise LeRobotDatasetError(f'{target} is the dataset itself or inside it; choose another folder')
    _require_own(target)
    _mark(target, None)
    copied = 0
    names = {path.relative_to(folder) for path in folder.rglob('*') if path.is_file()} - {LEDGER, MARK}
    # the index last: a copy that was cut off is seen to be incomplete
    for name in sorted(names, key=lambda n: (n.parts[0] == 'meta', n)):
        source, place = folder / name, target / name
        data = name.parts[0] != 'meta' and place.exists() and _same(source, place)
        if data or name == Path(CARD):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as temporary:
            shutil.copy2(source, temporary)
        copied += source.stat().st_size
    for path in [p for p in target.rglob('*.*') if p.suffix in ('.parquet', '.mp4')]:
        if path.relative_to(target) not in names:
            path.unlink()  # of an episode that was removed since the last copy
    if not (target / CARD).exists():
        own = folder / CARD
        write_text(target / CARD, own.read_text() if own.exists() else card(meta, licence))
    _mark(target, index_hash(target))
    return copied


def _require_own(target: Path) -> None:
    if not target.exists() or not any(target.iterdir()):
        return
    try:
        index = json.loads((target / MARK).read_text())['index']
    except (OSError, ValueError, KeyError, TypeError):
        raise LeRobotDatasetError(
            f'{target} holds something else, no copy made by apprentice dataset push-folder ({MARK} is '
            'missing); choose a new folder'
        ) from None
    if index is not None and index != index_hash(target):
        raise LeRobotDatasetError(
            f'{target} was changed by another program since it was copied, which would be lost; choose a new '
            'folder'
        )


def _mark(target: Path, index: str | None) -> None:
    (target / MARK).parent.mkdir(parents=True, exist_ok=True)
    write_text(target / MARK, json.dumps({'index': index}))


def upload(folder: str | Path, repo_id: str, private: bool = True) -> str:
    """Upload a prepared folder to the hub; returns its address. Uses the network.

    Raises ImportError that names what to install.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ImportError('uploading needs pip install huggingface_hub, and hf auth login') from None
    api: Any = HfApi()
    api.create_repo(repo_id, repo_type='dataset', private=private, exist_ok=True)
    api.upload_large_folder(repo_id=repo_id, folder_path=str(folder), repo_type='dataset')
    return f'https://huggingface.co/datasets/{repo_id}'


def _same(source: Path, place: Path) -> bool:
    a, b = source.stat(), place.stat()
    return a.st_size == b.st_size and int(a.st_mtime) == int(b.st_mtime)
