# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Camera images of simulations that share one model's assets but not its colours, lights and camera poses."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import mujoco
import numpy as np

from apprentice.robot.parts import load_part
from apprentice.sim.culling import Culling
from apprentice.sim.robots.decor import SKY

if TYPE_CHECKING:
    from apprentice.sim.physics.base import Physics
    from apprentice.sim.scene import Scene

MAX_GEOMS = 2000
QUALITIES = ('fast', 'pretty')
_FLAGS = mujoco.mjtRndFlag
_EVERYTHING = mujoco.mjtCatBit.mjCAT_ALL.value


class Rendering(Protocol):
    """Draws what the robot's cameras see; made as ``Class(scene)``.

    Set up at the first :meth:`render`, so that worlds without GL libraries still step.
    """

    def render(self, physics: Physics, sims: Sequence[int], out: dict[str, np.ndarray]) -> None:
        """One frame of every camera of the robot file, of the present state of each simulation.

        Args:
            sims: simulations to draw, in the order of the rows of ``out``.
            out: camera name -> uint8 [len(sims), H, W, 3] RGB, filled.
        """
        ...

    def close(self) -> None:
        """Free contexts and memory."""
        ...


def make_rendering(scene: Scene, name: str = 'auto', quality: str = 'fast') -> Rendering:
    """A rendering for the cameras of ``scene``'s robot.

    Args:
        name: ``gl``, ``warp`` (ray tracing, without GL), ``auto`` (gl), or a part ``package.module:Class``.
        quality: ``fast`` draws few polygons and no shadows, ``pretty`` is for people; only GL has it.
    """
    if name in ('auto', 'gl'):
        return GlRendering(scene, quality)
    if quality != 'fast':
        raise ValueError(f'rendering {name!r} has no quality {quality!r}; use rendering gl, or quality fast')
    if name == 'warp':
        name = 'apprentice.sim.warp_render:WarpRendering'
    if ':' not in name:
        raise ValueError(f'no rendering {name!r}; use auto, gl, warp or a part package.module:Class')
    return load_part(name)(scene)


class GlRendering:
    """See :class:`Rendering`: off-screen OpenGL, one context for each frame size, one frame at a time."""

    def __init__(self, scene: Scene, quality: str = 'fast'):
        if quality not in QUALITIES:
            raise ValueError(f'no rendering quality {quality!r}; use one of {list(QUALITIES)}')
        self._scene, self._quality = scene, quality
        self._renderers: dict[tuple[int, int, str], SceneRenderer] = {}

    def render(self, physics: Physics, sims: Sequence[int], out: dict[str, np.ndarray]) -> None:
        cameras = self._scene.spec.cameras
        views = [(c.name, self._renderer(c.height, c.width, self._quality)) for c in cameras]
        current: SceneRenderer | None = None
        for position, sim in enumerate(sims):
            model, data = physics.materialize(sim)
            for name, renderer in views:
                if renderer is not current:
                    renderer.make_current()
                    current = renderer
                renderer.draw(model, data, name, out[name][position])

    def film(self, physics: Physics, sim: int, camera: str, height: int, width: int) -> np.ndarray:
        """A pretty frame uint8 [height, width, 3] of one simulation, by any camera of the model."""
        model, data = physics.materialize(sim)
        names = [model.camera(i).name for i in range(model.ncam)]
        if camera not in names:
            raise ValueError(f'the simulated model has no camera {camera!r}; it has: {names}')
        return self._renderer(height, width, 'pretty').render(model, data, camera)

    def _renderer(self, height: int, width: int, quality: str) -> SceneRenderer:
        key = (height, width, quality)
        if key not in self._renderers:
            self._renderers[key] = SceneRenderer(self._scene.model, height, width, quality)
        return self._renderers[key]

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()


class SceneRenderer:
    """An off-screen GL context for frames of one size. Belongs to the thread that made it.

    ``mujoco.Renderer`` always draws the model it was made with; here every call brings its own, because
    randomised simulations look different. Raises OSError, with the remedy, where GL is missing.
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int, quality: str = 'fast'):
        self.height, self.width, self._pretty = height, width, quality == 'pretty'
        look = copy.copy(model)  # a context takes sizes and polygon counts from its model, once
        # no larger than the frame: clearing a part of a buffer costs software GL a fifth of its time
        look.vis.global_.offheight, look.vis.global_.offwidth = height, width
        if self._pretty:
            _refine(look.vis.quality)
        try:
            self._gl = mujoco.GLContext(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(look, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        except Exception as error:
            raise OSError(
                f'cannot render ({error}); install the GL libraries: '
                'apt install libegl1 libgl1-mesa-dri. MUJOCO_GL should be egl: apprentice.sim sets it, '
                'but only where nothing imported mujoco before'
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
        self._scene = mujoco.MjvScene(look, maxgeom=MAX_GEOMS)
        if not self._pretty and SKY in [model.texture(i).name for i in range(model.ntex)]:
            self._scene.flags[int(_FLAGS.mjRND_SKYBOX)] = 0  # the decoration's; a model's own sky is drawn
        self._option, self._perturb = mujoco.MjvOption(), mujoco.MjvPerturb()
        self._camera = mujoco.MjvCamera()
        self._camera.type = int(mujoco.mjtCamera.mjCAMERA_FIXED)
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._culling = None if self._pretty else Culling(look, width / height)

    def make_current(self) -> None:
        """Direct GL calls of this thread to this context; it stays so until another is made current."""
        self._gl.make_current()

    def render(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str) -> np.ndarray:
        """RGB uint8 [H, W, 3] seen by a named camera."""
        self.make_current()
        out = np.empty((self.height, self.width, 3), np.uint8)
        self.draw(model, data, camera, out)
        return out

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str, out: np.ndarray) -> None:
        """As :meth:`render`, into ``out`` [H, W, 3], in the context that is current already."""
        number = self._camera.fixedcamid = int(model.camera(camera).id)
        hidden = self._culling is not None and self._culling.hide(model, data, number)
        mujoco.mjv_updateScene(
            model, data, self._option, self._perturb, self._camera, _EVERYTHING, self._scene
        )
        if self._culling is not None and hidden:
            self._culling.restore(model)
        if self._pretty:
            _polish(self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        out[:] = self._pixels[::-1]  # GL's first row is the lowest

    def close(self) -> None:
        """Free the GL context."""
        self._gl.make_current()  # names are freed in the current context, which may be another one's
        self._context.free()
        self._gl.free()


def _refine(quality: mujoco.MjVisual.Quality) -> None:
    """Round things round, edges smooth, shadows fine."""
    quality.shadowsize, quality.offsamples = 2048, 4
    quality.numslices, quality.numstacks, quality.numquads = 36, 18, 4


def _polish(scene: mujoco.MjvScene) -> None:
    """Highlights on everything, and one key light from the side that casts shadows."""
    for i in range(scene.ngeom):
        geom = scene.geoms[i]
        geom.specular, geom.shininess = max(geom.specular, 0.25), max(geom.shininess, 0.4)
    if scene.nlight >= len(scene.lights):
        return
    for i in range(scene.nlight):  # the key light takes a part of their share
        scene.lights[i].diffuse[:] *= 0.6
        scene.lights[i].castshadow = 0
    light = scene.lights[scene.nlight]
    if hasattr(light, 'type'):
        light.type = int(mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
    else:  # until MuJoCo 3.3.2
        light.directional = 1
    light.headlight, light.castshadow = 0, 1
    light.pos[:] = (-0.9, -1.2, 2.4)
    light.dir[:] = np.array((0.42, 0.44, -0.8)) / np.linalg.norm((0.42, 0.44, -0.8))
    light.diffuse[:], light.specular[:], light.ambient[:] = 0.5, 0.35, 0.0
    light.attenuation[:] = (1.0, 0.0, 0.0)
    scene.nlight += 1
