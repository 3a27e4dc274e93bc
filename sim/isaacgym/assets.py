# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Actors as MJCF files that Isaac Gym's importer reads, and as the descriptions its worker builds them from.

The importer knows a part of MJCF: bodies, hinge and slide joints, primitive and mesh geoms. Masses, inertias,
limits, gains, friction and collision filters are set through the API afterwards, from the compiled model, so
that nothing depends on how the importer reads them.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np

from apprentice.sim.isaacgym.actors import Actor, Drive, Link, collides
from apprentice.sim.isaacgym.frames import matrices, to_xyzw

_PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)
_SLIDE = int(mujoco.mjtJoint.mjJNT_SLIDE)
_TYPES = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE): 'sphere',
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): 'capsule',
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): 'cylinder',
    int(mujoco.mjtGeom.mjGEOM_BOX): 'box',
    int(mujoco.mjtGeom.mjGEOM_MESH): 'mesh',
}
_SIZES = {'sphere': 1, 'box': 3}
_SMALL_MASS, _SMALL_INERTIA = 1e-3, 1e-6  # kg, kg m2: PhysX needs both above zero
_DOT = 0.001  # m, radius of the invisible shape of a link without geoms
_PARENTS_TOUCH = int(mujoco.mjtDisableBit.mjDSBL_FILTERPARENT)
_GREY = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's default colour
FILTER_BITS = 31


def write_asset(model: mujoco.MjModel, actor: Actor, folder: Path) -> str:
    """Write one actor to ``folder``; returns the file's name."""
    root = ElementTree.Element('mujoco', model=actor.name)
    ElementTree.SubElement(root, 'compiler', angle='radian')
    assets = ElementTree.SubElement(root, 'asset')
    elements: list[ElementTree.Element] = []
    world = ElementTree.SubElement(root, 'worldbody')
    for link in actor.links:
        parent = world if link.parent < 0 else elements[link.parent]
        body = ElementTree.SubElement(
            parent, 'body', name=link.name, pos=_text(link.position), quat=_text(link.quaternion)
        )
        elements.append(body)
        if link.parent < 0 and actor.free >= 0:
            ElementTree.SubElement(body, 'freejoint', name=f'free{actor.free}')
        for joint in link.joints:
            _write_joint(model, joint, body)
        for geom in link.geoms:
            _write_geom(model, geom, body, assets, folder)
        if not link.geoms:
            ElementTree.SubElement(
                body, 'geom', type='sphere', size=str(_DOT), contype='0', conaffinity='0', rgba='0 0 0 0'
            )
    name = f'{actor.name}.xml'
    ElementTree.ElementTree(root).write(folder / name)
    return name


def _write_joint(model: mujoco.MjModel, joint: int, body: ElementTree.Element) -> None:
    attributes = {
        'name': f'joint{joint}',
        'type': 'slide' if int(model.jnt_type[joint]) == _SLIDE else 'hinge',
        'pos': _text(model.jnt_pos[joint]),
        'axis': _text(model.jnt_axis[joint]),
        'limited': 'true' if model.jnt_limited[joint] else 'false',
    }
    if model.jnt_limited[joint]:
        attributes['range'] = _text(model.jnt_range[joint] - model.qpos0[int(model.jnt_qposadr[joint])])
    ElementTree.SubElement(body, 'joint', attributes)


def _write_geom(
    model: mujoco.MjModel, geom: int, body: ElementTree.Element, assets: ElementTree.Element, folder: Path
) -> None:
    kind = _TYPES[int(model.geom_type[geom])]
    position, size = model.geom_pos[geom], model.geom_size[geom]
    attributes = {
        'name': f'geom{geom}',
        'type': kind,
        'contype': str(int(model.geom_contype[geom])),
        'conaffinity': str(int(model.geom_conaffinity[geom])),
        'rgba': _text(model.geom_rgba[geom]),
    }
    if kind in ('capsule', 'cylinder'):
        half = size[1] * matrices(model.geom_quat[geom])[:, 2]
        attributes |= {'fromto': _text([*(position - half), *(position + half)]), 'size': _text(size[:1])}
    else:
        attributes |= {'pos': _text(position), 'quat': _text(model.geom_quat[geom])}
        if kind == 'mesh':
            mesh = int(model.geom_dataid[geom])
            attributes['mesh'] = f'mesh{mesh}'
            _write_mesh(model, mesh, folder / f'mesh{mesh}.stl')
            if assets.find(f"mesh[@name='mesh{mesh}']") is None:
                ElementTree.SubElement(assets, 'mesh', name=f'mesh{mesh}', file=f'mesh{mesh}.stl')
        else:
            attributes['size'] = _text(size[: _SIZES[kind]])
    ElementTree.SubElement(body, 'geom', attributes)


def _write_mesh(model: mujoco.MjModel, mesh: int, path: Path) -> None:
    """Binary STL of a compiled mesh, whose vertices are in the geom's frame."""
    if path.exists():
        return
    first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    vertices = model.mesh_vert[first : first + count]
    first, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    triangles = vertices[model.mesh_face[first : first + count]]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(count, [('values', '<f4', (4, 3)), ('attribute', '<u2')])
    records['values'][:, 0] = normals / np.where(lengths == 0, 1, lengths)
    records['values'][:, 1:] = triangles
    path.write_bytes(bytes(80) + struct.pack('<I', count) + records.tobytes())


def describe(
    model: mujoco.MjModel, actor: Actor, file: str, drives: dict[int, Drive], filters: dict[int, int]
) -> dict[str, Any]:
    """What the worker needs beside the file, see protocol.ACTOR."""
    return {
        'name': actor.name,
        'file': file,
        'fixed': actor.free < 0,
        'gravity': actor.gravity,
        'position': actor.position.tolist(),
        'rotation': to_xyzw(actor.quaternion).tolist(),
        'bodies': [_describe_link(model, link, filters) for link in actor.links],
        'dofs': [_describe_dof(model, drives[joint]) for link in actor.links for joint in link.joints],
    }


def _describe_link(model: mujoco.MjModel, link: Link, filters: dict[int, int]) -> dict[str, Any]:
    shapes = [
        {
            'collides': collides(model, geom),
            'friction': float(model.geom_friction[geom, 0]),
            'filter': filters[geom],
        }
        for geom in link.geoms
    ]
    colour = geom_colour(model, link.geoms[0]) if link.geoms else [0.0, 0.0, 0.0]
    falls = link.body < 0 or not model.body_gravcomp[link.body]
    values: dict[str, Any] = {'name': link.name, 'shapes': shapes, 'colour': colour, 'gravity': bool(falls)}
    return values | inertial(model, link.body if link.tracked else 0)


def geom_colour(model: mujoco.MjModel, geom: int) -> list[float]:
    """RGB of a geom; as in MuJoCo its material's, where it has one and no colour of its own."""
    material, own = int(model.geom_matid[geom]), model.geom_rgba[geom]
    colour = model.mat_rgba[material] if material >= 0 and np.allclose(own, _GREY) else own
    return colour[:3].tolist()


def inertial(model: mujoco.MjModel, body: int) -> dict[str, Any]:
    """Mass (kg), centre (m) and inertia (kg m2, row-major 3 x 3 about the centre) in the body's frame.

    What is fixed to the world (body 0) has small ones: PhysX needs them, nobody feels them.
    """
    axes = matrices(model.body_iquat[body])
    inertia = axes @ np.diag(np.maximum(model.body_inertia[body], _SMALL_INERTIA)) @ axes.T
    return {
        'mass': max(float(model.body_mass[body]), _SMALL_MASS),
        'com': model.body_ipos[body].tolist(),
        'inertia': inertia.reshape(-1).tolist(),
    }


def _describe_dof(model: mujoco.MjModel, drive: Drive) -> dict[str, Any]:
    joint, dof = drive.joint, int(model.jnt_dofadr[drive.joint])
    low, high = model.jnt_range[joint] - model.qpos0[int(model.jnt_qposadr[joint])]
    return {
        'name': f'joint{joint}',
        'limited': bool(model.jnt_limited[joint]),
        'lower': float(low),
        'upper': float(high),
        'stiffness': drive.stiffness,
        'damping': drive.damping,
        'effort': drive.effort,
        'armature': float(model.dof_armature[dof]),
        'friction': 0.0,  # a coefficient in Isaac Gym; MuJoCo's frictionloss is a force
    }


def ground(model: mujoco.MjModel) -> list[dict[str, Any]]:
    """The world's planes, see protocol.GROUND; normal . x + distance = 0: positive is below the origin."""
    found = []
    for geom in range(model.ngeom):
        if int(model.geom_type[geom]) == _PLANE:
            normal = matrices(model.geom_quat[geom])[:, 2]
            distance, friction = -float(normal @ model.geom_pos[geom]), float(model.geom_friction[geom, 0])
            found.append({'normal': normal.tolist(), 'distance': distance, 'friction': friction})
    return found


def collision_filters(model: mujoco.MjModel) -> dict[int, int]:
    """Filter bits of each geom: in Isaac Gym shapes that share a bit do not collide.

    For geoms of one body, and for two that are fixed to the world, it does not matter. Every pair that must
    not collide gets a common bit; a bit may serve a whole set of geoms of which no two need to collide.
    Raises ValueError if the bits do not suffice.
    """
    geoms = [i for i in range(model.ngeom) if int(model.geom_type[i]) in _TYPES]
    apart = _apart(model, geoms)
    owner, weld = model.geom_bodyid, model.body_weldid[model.geom_bodyid]
    alike = {a: {b for b in geoms if owner[a] == owner[b] or weld[a] == weld[b] == 0} for a in geoms}
    filters = dict.fromkeys(geoms, 0)
    bit = 0
    for a in geoms:
        for b in sorted(apart[a] - alike[a]):
            if filters[a] & filters[b]:
                continue
            if bit == FILTER_BITS:
                raise ValueError(
                    f'Isaac Gym adapter: more than {FILTER_BITS} sets of geoms that do not collide; '
                    'use fewer values of contype and conaffinity, and fewer excluded pairs of bodies'
                )
            members = {a, b}
            for c in geoms:
                if all(c in apart[m] or c in alike[m] for m in members):
                    members.add(c)
            for member in members:
                filters[member] |= 1 << bit
            bit += 1
    return filters


def _apart(model: mujoco.MjModel, geoms: list[int]) -> dict[int, set[int]]:
    """For each geom those that MuJoCo never lets it touch, by the rules of its collision detection.

    They are contype and conaffinity; bodies welded to each other; parent and child, where welded bodies count
    as one and what is fixed to the world touches everything; and excluded pairs of bodies.
    """
    kind, affinity = model.geom_contype.tolist(), model.geom_conaffinity.tolist()
    owner = model.geom_bodyid.tolist()
    weld, excluded = model.body_weldid.tolist(), set(model.exclude_signature.tolist())
    parent = model.body_weldid[model.body_parentid[model.body_weldid]].tolist()
    filter_parents = not int(model.opt.disableflags) & _PARENTS_TOUCH

    def never(a: int, b: int) -> bool:
        first, second = sorted((owner[a], owner[b]))
        one, other = weld[first], weld[second]
        related = one and other and (parent[one] == other or parent[other] == one)
        return (
            not (kind[a] & affinity[b] or kind[b] & affinity[a])
            or one == other
            or bool(filter_parents and related)
            or (first << 16) + second in excluded
        )

    return {a: {b for b in geoms if never(a, b)} for a in geoms}


def _text(values: Any) -> str:
    return ' '.join(f'{value:.9g}' for value in np.asarray(values, np.float64))
