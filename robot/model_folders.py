# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Folders of Hugging Face models on this machine: where one lies, and which one it is."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODELS = 'APPRENTICE_MODELS'  # folders in which models are looked for by the last part of their name
INSTALL = "'apprentice[vla]'"
_WANTED = ['*.json', '*.safetensors', '*.txt', '*.model', '*.jinja']  # of a hub repository; no pickles
_BLOCKS, _BLOCK = 32, 1 << 16

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """What a search for a model came to.

    Attributes:
        folder: None where there is none.
        places: where it was looked for.
        on_hub: whether the name may be one of the hub, so that the hub's cache was looked at too.
    """

    folder: Path | None
    places: tuple[Path, ...]
    on_hub: bool


def require(module: str, install: str = INSTALL) -> Any:
    """An optional module. Raises ImportError that says what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(f'{module} is not installed; run: pip install {install}') from error


def search(name: str, download: bool = False) -> Search:
    """Look for a model: ``name`` as a path, its last part in a folder of MODELS, then the hub's cache.

    Args:
        download: a hub name that is not in the cache may be fetched from the Hugging Face hub.

    Raises FileNotFoundError for a download that fails.
    """
    path = Path(name).expanduser()
    roots = [root for root in os.environ.get(MODELS, '').split(os.pathsep) if root]
    places = (path, *(Path(root).expanduser() / path.name for root in roots))
    on_hub = re.fullmatch(r'\w[\w.-]*/\w[\w.-]*', name) is not None
    here = next((place for place in places if (place / 'config.json').is_file()), None)
    if here is None and on_hub:
        here = _from_hub(name, download)
    return Search(here, places, on_hub)


def _from_hub(name: str, download: bool) -> Path | None:
    hub = require('huggingface_hub')
    if download:
        log.warning('%s is taken from the Hugging Face hub, unless it is in the cache', name)
    try:
        folder = Path(hub.snapshot_download(name, local_files_only=not download, allow_patterns=_WANTED))
    except (OSError, ValueError) as error:
        if download:
            raise FileNotFoundError(f'cannot download {name!r} from the hub: {error}') from error
        return None
    return folder if (folder / 'config.json').is_file() else None


def fingerprint(folder: Path) -> str:
    """Which model a folder holds: sha256 over config.json and over name, size and samples of the weights.

    Reading all of a large model takes long; 32 blocks of 64 KiB spread over each file tell two trained
    models apart, but not a change on purpose between them.
    """
    digest = hashlib.sha256((folder / 'config.json').read_bytes())
    for path in sorted(folder.glob('*.safetensors')):
        size = path.stat().st_size
        digest.update(f'{path.name} {size}\n'.encode())
        with open(path, 'rb') as file:
            for i in range(_BLOCKS):
                file.seek(max(0, size - _BLOCK) * i // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()
