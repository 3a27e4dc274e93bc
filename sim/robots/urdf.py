# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""URDF as MuJoCo can read it: meshes found, links kept, what it would pass over said or translated."""

from __future__ import annotations

import logging
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

import mujoco

from apprentice.robot.spec import RobotFileError

READABLE = ('.stl', '.obj', '.msh')
MIMIC = 'mimic_'  # prefix of the names of equalities that stand for <mimic>

logger = logging.getLogger(__name__)


def mjcf_compatible(path: Path, packages: Mapping[str, Path], shapes: bool = True) -> str:
    """The text of a URDF file with absolute mesh paths and MuJoCo's compiler told to keep every link.

    ``package://NAME/rest`` is looked for in ``packages[NAME]``, then in ``share/NAME`` of the ROS prefixes
    (AMENT_PREFIX_PATH), then in folders above the file that are called NAME, and in folders NAME
    beside those. ``meshdir`` of the file's own <mujoco><compiler> is one more place for every mesh, with its
    folders or, as MuJoCo's default is for URDF, without. MuJoCo reads stl, obj and msh: a visual of another
    kind is left out with a warning, a collision of another kind is an error. Without ``shapes`` only links
    and joints are left, and no mesh has to be there. Raises RobotFileError.
    """
    text = path.read_text()
    if '<xacro:' in text:  # its translation often keeps the namespace
        raise RobotFileError(f'this is xacro, not URDF; translate it once: xacro {path.name} > robot.urdf')
    try:
        robot = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise RobotFileError(f'not valid XML: {error}') from None
    if robot.tag != 'robot':
        raise RobotFileError(f'a URDF begins with <robot>, this file with <{robot.tag}>')
    extension = robot.find('mujoco')
    if extension is None:
        extension = ElementTree.SubElement(robot, 'mujoco')
    compiler = extension.find('compiler')
    if compiler is None:
        compiler = ElementTree.SubElement(extension, 'compiler')
    folders = [compiler.attrib.pop(key) for key in ('meshdir', 'assetdir') if key in compiler.attrib]
    besides = [path.parent / folder for folder in folders if folder]
    for link in robot.iter('link'):
        name = link.get('name', '')
        for kind in ('visual', 'collision'):
            for shape in link.findall(kind):
                mesh = shape.find('geometry/mesh')
                if not shapes:
                    link.remove(shape)
                    continue
                if mesh is None:
                    continue
                if _readable(mesh.get('filename', ''), kind, name):
                    found = _mesh_file(mesh.get('filename', ''), path, packages, besides, name)
                    mesh.set('filename', str(found))
                else:
                    link.remove(shape)
    for joint in robot.iter('joint'):
        for mimic in joint.findall('mimic'):  # becomes an equality in add_mimics; old MuJoCo ignores it
            joint.remove(mimic)
    for key, value in {'fusestatic': 'false', 'discardvisual': 'false', 'balanceinertia': 'true'}.items():
        compiler.set(key, compiler.get(key, value))
    compiler.set('strippath', 'false')  # whatever the file says: the paths are absolute now
    return ElementTree.tostring(robot, encoding='unicode')


def add_mimics(specification: mujoco.MjSpec, path: Path) -> list[str]:
    """Tie joints with a <mimic> to the joint they follow. Returns the followers' names."""
    followers = []
    for joint in ElementTree.fromstring(path.read_text()).iter('joint'):
        mimic, name = joint.find('mimic'), joint.get('name', '')
        if mimic is None or joint.get('type') == 'fixed':
            continue
        factor, offset = float(mimic.get('multiplier', 1)), float(mimic.get('offset', 0))
        tie(specification, name, mimic.get('joint', ''), factor, offset)
        followers.append(name)
    return followers


def tie(specification: mujoco.MjSpec, follower: str, leader: str, factor: float, offset: float = 0.0) -> None:
    """Constrain a joint to ``offset + factor * leader``."""
    equality = specification.add_equality()
    equality.name = MIMIC + follower
    equality.type = mujoco.mjtEq.mjEQ_JOINT
    equality.objtype = mujoco.mjtObj.mjOBJ_JOINT
    equality.name1, equality.name2 = follower, leader
    equality.data[:5] = [offset, factor, 0, 0, 0]
    equality.solref[:] = [0.005, 1.0]


def _readable(name: str, kind: str, link: str) -> bool:
    """Whether MuJoCo reads this mesh; False if the shape has to be left out."""
    if Path(name).suffix.lower() in READABLE:
        return True
    if kind == 'collision':
        raise RobotFileError(
            f'collision mesh {name!r} of link {link!r}: MuJoCo reads {", ".join(READABLE)}; '
            'convert it and name the new file in the URDF'
        )
    logger.warning('visual mesh %s of link %s left out: MuJoCo reads %s', name, link, ', '.join(READABLE))
    return False


def _mesh_file(
    name: str, path: Path, packages: Mapping[str, Path], besides: Sequence[Path], link: str
) -> Path:
    plain = re.sub(r'^file://', '', name)
    inside = re.fullmatch(r'(?:package|model)://([^/]+)/(.+)', plain)
    rest = inside[2] if inside else plain
    if not inside:
        places = [path.parent / rest]
    else:
        package = inside[1]
        prefixes = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
        above = list(path.resolve().parents)
        roots = [packages[package]] if package in packages else []
        roots += [Path(prefix, 'share', package) for prefix in prefixes]
        roots += [folder for folder in above if folder.name == package]
        roots += [folder / package for folder in above[:4]]
        places = [root / rest for root in roots]
    places += [folder / end for folder in besides for end in (rest, Path(rest).name)]
    for place in places:
        if place.exists():
            return place.resolve()
    looked = ', '.join(str(place) for place in places[:6])
    hint = (
        f'; name its folder in the robot file: simulator.packages: {{{inside[1]}: folder}}' if inside else ''
    )
    raise RobotFileError(f'mesh {name!r} of link {link!r} is not there; looked at: {looked}{hint}')
