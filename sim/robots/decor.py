# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What randomisation and videos find in every model: textured materials, hidden clutter, a sky.

Nothing of it is seen or felt until a simulation switches it on: no geom uses the materials, the clutter is
transparent and touches nothing, and only the pretty profile draws the sky.
"""

from __future__ import annotations

import mujoco

SKY = 'decor_sky'
TEXTURES = ('decor_checker', 'decor_fine_checker', 'decor_speckle', 'decor_grid', 'decor_gradient')
CLUTTER = tuple(f'decor_clutter{i}' for i in range(6))
_PIXELS = 32  # every simulation of the thread engine holds a copy
_LIGHT, _DARK = (1.0, 1.0, 1.0), (0.55, 0.55, 0.55)  # a texture scales the geom's colour


def add_decor(specification: mujoco.MjSpec) -> None:
    """Add the decoration to a scene that is not compiled yet; a second call changes nothing."""
    if any(texture.name == TEXTURES[0] for texture in specification.textures):
        return
    builtin, mark, kind = mujoco.mjtBuiltin, mujoco.mjtMark, mujoco.mjtTexture
    looks = {
        TEXTURES[0]: (builtin.mjBUILTIN_CHECKER, mark.mjMARK_NONE, 1.0),
        TEXTURES[1]: (builtin.mjBUILTIN_CHECKER, mark.mjMARK_NONE, 5.0),
        TEXTURES[2]: (builtin.mjBUILTIN_FLAT, mark.mjMARK_RANDOM, 2.0),
        TEXTURES[3]: (builtin.mjBUILTIN_FLAT, mark.mjMARK_EDGE, 6.0),
        TEXTURES[4]: (builtin.mjBUILTIN_GRADIENT, mark.mjMARK_NONE, 1.0),
    }
    for name, (pattern, marks, repeat) in looks.items():
        specification.add_texture(
            name=name,
            type=kind.mjTEXTURE_2D,
            builtin=pattern,
            mark=marks,
            random=0.3,
            width=_PIXELS,
            height=_PIXELS,
            rgb1=_LIGHT,
            rgb2=_DARK,
            markrgb=_DARK,
        )
        material = specification.add_material(name=name, texrepeat=[repeat, repeat], rgba=[1, 1, 1, 1])
        material.textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = name
    if not any(int(texture.type) == int(kind.mjTEXTURE_SKYBOX) for texture in specification.textures):
        specification.add_texture(
            name=SKY,
            type=kind.mjTEXTURE_SKYBOX,
            builtin=builtin.mjBUILTIN_GRADIENT,
            width=_PIXELS,
            height=6 * _PIXELS,
            rgb1=(0.78, 0.86, 0.94),
            rgb2=(0.32, 0.38, 0.46),
        )
    shapes = (mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CYLINDER)
    for i, name in enumerate(CLUTTER):
        specification.worldbody.add_geom(
            name=name,
            type=shapes[i % len(shapes)],
            size=[0.02, 0.02, 0.02],
            pos=[0, 0, -1],
            rgba=[0.5, 0.5, 0.5, 0],
            contype=0,
            conaffinity=0,
        )
