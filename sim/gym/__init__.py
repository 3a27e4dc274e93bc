# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Gymnasium both ways: our tasks as environments (:mod:`.env`), an environment as a robot (:mod:`.world`)."""
