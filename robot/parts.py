# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Parts named in YAML as ``package.module:Class``, and the folders this package ships."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any


def load_part(reference: str) -> Any:
    """Import ``package.module:Name``. Raises ImportError naming the reference and the remedy."""
    module, _, name = reference.partition(':')
    if not module or not name:
        raise ImportError(f'{reference!r} is not of the form package.module:Class')
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ImportError(f'{reference!r}: {error}; is the package installed?') from error
    except AttributeError:
        raise ImportError(f'{reference!r}: module {module} has no {name!r}') from None


def find_weights(name: str) -> Path:
    """Weights as the user gave them: a path, or the name of a folder in ``share('weights')``.

    Raises FileNotFoundError for a bare name that is neither here nor shipped; other paths are not checked.
    """
    path = Path(name).expanduser()
    return share('weights', name) if not path.exists() and len(path.parts) == 1 else path


def find_robot(name: str) -> Path:
    """A robot file as the user gave it: a path, or the name of one in ``share('robots')``, with or without
    ``.yaml``.

    Raises FileNotFoundError, which lists the shipped ones, for a bare name that is neither here nor shipped;
    other paths are not checked.
    """
    path = Path(name).expanduser()
    if path.is_file() or len(path.parts) != 1:
        return path
    try:
        return share('robots', f'{name.removesuffix(".yaml")}.yaml')
    except FileNotFoundError:
        shipped = ', '.join(sorted(file.stem for file in share('robots').glob('*.yaml')))
        raise FileNotFoundError(
            f'robot file {name!r} does not exist; give the path of one, or one that is shipped: {shipped}'
        ) from None


def share(*parts: str) -> Path:
    """Path of a file this package ships (``launch``, ``robots``, ``weights``, ``web``).

    Looks beside the sources (a checkout), then in the ROS prefixes, then in the Python prefix.
    Raises FileNotFoundError with the places looked at.
    """
    source_tree = Path(__file__).resolve().parents[1]
    roots = [source_tree] if (source_tree / 'package.xml').exists() else []
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    roots += [Path(prefix) / 'share' / 'apprentice' for prefix in prefixes if prefix]
    for root in roots:
        path = root.joinpath(*parts)
        if path.exists():
            return path
    looked = ', '.join(str(root) for root in roots)
    raise FileNotFoundError(f'{"/".join(parts)} is not installed; looked in: {looked}')
