# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pairs on disk: one file an episode, complete or not there, verified by hash, so that building goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from apprentice.learning.preference.pairs import PairBuilder, PairError, Pairs
from apprentice.robot.files import replacing, write_text
from apprentice.robot.types import Episode

SETTINGS = 'pairs.json'
_ARRAYS = (
    'state', 'step', 'observation', 'winner', 'loser', 'valid', 'margin', 'winner_steps', 'loser_steps',
    'loser_observation',
)  # fmt: skip
_LATER = ('loser_observation',)  # folders that were made before lack it, and have one observation a pair
_LISTS = ('text', 'episode', 'source')

log = logging.getLogger(__name__)


class PairStore:
    """A folder of pairs, all made with the same ``settings``.

    Images are kept once for each observation, beside the chunks, so that a store can be moved and outlives
    the episodes. An episode that gave no pairs has a file too: it is not looked at again.

    Args:
        settings: of whatever makes the pairs; None takes what the folder has.

    Raises PairError for a folder of other settings, and for none where ``settings`` is None.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any] | None = None):
        self.folder = Path(folder)
        path = self.folder / SETTINGS
        if settings is None:
            if not path.is_file():
                raise PairError(
                    f'no pairs in {self.folder} ({SETTINGS} is missing); build some: apprentice train dpo'
                )
            self.settings = _settings(path)
            return
        self.settings = json.loads(json.dumps(settings))
        self.folder.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            write_text(path, json.dumps(self.settings, indent=1) + '\n')
        found = _settings(path)
        if found != self.settings:
            names = sorted(n for n in {*found, *self.settings} if found.get(n) != self.settings.get(n))
            raise PairError(
                f'{self.folder} holds pairs made otherwise ({", ".join(names)} differ); give another folder, '
                'or remove it'
            )

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def add(self, name: str, pairs: Pairs) -> None:
        """Write the pairs of the episode ``name``; a file of that name is replaced. Raises PairError."""
        pairs.check()
        tensors = {field: np.ascontiguousarray(getattr(pairs, field)) for field in _ARRAYS}
        tensors |= {f'images.{camera}': np.ascontiguousarray(s) for camera, s in pairs.images.items()}
        lists = json.dumps({field: getattr(pairs, field) for field in _LISTS})
        metadata = {'lists': lists, 'sha256': _digest(tensors, lists)}
        with replacing(self._path(name)) as temporary:
            temporary.write_bytes(save(tensors, metadata))
            with open(temporary, 'rb') as file:
                os.fsync(file.fileno())

    def read(self) -> Pairs:
        """All pairs without doubles, by name of the file. Raises PairError for none and for damaged ones."""
        paths = sorted(self.folder.glob('*.safetensors'))
        parts = [_read(path) for path in paths]
        if not any(len(part) for part in parts):
            raise PairError(
                f'{self.folder} holds no pairs: none of the {len(paths)} episodes gave one; record more, or '
                'lower the margin'
            )
        return Pairs.concatenate(parts).unique()

    def _path(self, name: str) -> Path:
        safe = ''.join(c if c.isalnum() or c in '-_.' else '_' for c in name)
        # names that only differ in what was replaced must not meet
        tail = '' if safe == name else f'-{hashlib.sha256(name.encode()).hexdigest()[:8]}'
        return self.folder / f'{safe}{tail}.safetensors'


def collect(
    builder: PairBuilder,
    readers: Mapping[str, Callable[[], Episode]],
    folder: str | Path,
    watch: Callable[[list[str]], Iterable[str]] = iter,
) -> Pairs:
    """Build the pairs of episodes into ``folder`` and read them all; episodes that are there are skipped.

    Killed and started again it goes on, and the pairs are the same.

    Args:
        readers: name of an episode -> what reads it.
        watch: passes the missing names on, e.g. with a progress bar.
    """
    store = PairStore(folder, builder.settings())
    missing = [name for name in readers if name not in store]
    for name in watch(missing):
        store.add(name, builder.build([readers[name]()]))
    return store.read()


def _settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise PairError(f'{path} is damaged ({error}); remove the folder and build again') from None
    if not isinstance(found, dict):
        raise PairError(f'{path} is damaged; remove the folder and build again')
    return found


def _read(path: Path) -> Pairs:
    try:
        with safe_open(path, 'numpy') as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        lists = metadata['lists']
        if metadata['sha256'] != _digest(tensors, lists):
            raise ValueError('sha256 differs')
        images = {n.partition('.')[2]: t for n, t in tensors.items() if n.startswith('images.')}
        fields = {field: tensors[field] for field in _ARRAYS if field not in _LATER or field in tensors}
        return Pairs(images=images, **fields, **json.loads(lists)).check()
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise PairError(f'{path} is damaged ({error}); remove that file and build again') from error


def _digest(tensors: Mapping[str, np.ndarray], lists: str) -> str:
    digest = hashlib.sha256(lists.encode())
    for name in sorted(tensors):
        digest.update(f'{name} {tensors[name].dtype} {tensors[name].shape}'.encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()
