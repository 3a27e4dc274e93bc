# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""wrap_tensor and unwrap_tensor: the library's tensors share memory with torch's (vec_task.py)."""

import numpy as np

from .gymapi import ContractError, Tensor


def wrap_tensor(gym_tensor, offsets=None, counts=None):
    import torch

    if not isinstance(gym_tensor, Tensor):
        raise ContractError(f'wrap_tensor takes a gymapi.Tensor, got {type(gym_tensor)}')
    gym_tensor.check()
    return torch.from_numpy(gym_tensor.values)  # of this fake all tensors lie in host memory


def unwrap_tensor(torch_tensor):
    import torch

    if not isinstance(torch_tensor, torch.Tensor):
        raise ContractError(f'unwrap_tensor takes a torch tensor, got {type(torch_tensor)}')
    values = torch_tensor.numpy()
    if values.dtype not in (np.float32, np.int32) or not values.flags.c_contiguous:
        raise ContractError(f'a tensor of {values.dtype} cannot be unwrapped')
    return Tensor(values)
