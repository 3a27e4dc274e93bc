# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Sessions of onnxruntime on the providers that were asked for, or an error that says what there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from apprentice.policies.checkpoint import CheckpointError

PROVIDERS = {
    'cpu': 'CPUExecutionProvider',
    'cuda': 'CUDAExecutionProvider',
    'tensorrt': 'TensorrtExecutionProvider',
}
# a GPU multiplies matrices with fewer digits unless it is told not to
_OPTIONS: dict[str, dict[str, Any]] = {'cuda': {'use_tf32': 0}}


def require_providers(providers: str | Sequence[str]) -> list[str]:
    """Names from PROVIDERS, given as a list or with commas between, as a list.

    Raises ValueError for one that is unknown or not installed, ImportError without onnxruntime.
    """
    names = providers.replace(',', ' ').split() if isinstance(providers, str) else list(providers)
    unknown = [name for name in names if name not in PROVIDERS]
    if unknown or not names:
        raise ValueError(f'no provider {", ".join(unknown)!r}; use one of {list(PROVIDERS)}')
    there = onnxruntime().get_available_providers()
    for name in names:
        if PROVIDERS[name] not in there:
            has = [known for known, full in PROVIDERS.items() if full in there]
            raise ValueError(
                f'onnxruntime has no provider {name!r} here, it has {has}; for a GPU: '
                "pip uninstall onnxruntime, then pip install 'apprentice[onnx-gpu]'"
            )
    return names


def open_session(path: Path, providers: str | Sequence[str] = 'cpu', threads: int = 1) -> Any:
    """A session on these providers, the first preferred; what a GPU cannot do runs on the CPU.

    Raises ValueError for a provider that is unknown, not installed or does not start, CheckpointError for a
    graph that this onnxruntime cannot load.
    """
    names, runtime = require_providers(providers), onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors
    wanted = [(PROVIDERS[name], _OPTIONS.get(name, {})) for name in names]
    try:
        session = runtime.InferenceSession(str(path), options, wanted)
    except Exception as error:  # those of onnxruntime have no base of their own
        raise CheckpointError(
            f'onnxruntime {runtime.__version__} cannot load {path}: {error}; export again with this version'
        ) from error
    # without the libraries of a GPU it goes on with the CPU and only logs that
    idle = [name for name in names if PROVIDERS[name] not in session.get_providers()]
    if idle:
        raise ValueError(f'the provider {idle[0]!r} does not start; are driver, CUDA and cuDNN installed?')
    return session


def onnxruntime() -> ModuleType:
    """The library. Raises ImportError naming the extra to install."""
    try:
        import onnxruntime as library
    except ImportError as error:
        raise ImportError(f"{error}; install it with: pip install 'apprentice[onnx]'") from error
    return library
