# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Isaac Gym Preview 4 as a physics engine and renderer, in a process of its own interpreter.

Never run on the real library by us: tested against a contract fake, see docs/isaacgym.md. ``protocol``,
``simulation``, ``cameras`` and ``worker`` also run under Python 3.6 to 3.8, beside the library; they import
numpy, isaacgym and torch, never the rest of this package.
"""
