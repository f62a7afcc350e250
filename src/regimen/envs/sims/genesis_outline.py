"""Monitored bodies and sites of a robot, and its model without the ground, read from the MJCF."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from regimen.envs.robots.robot import Robot
from regimen.system.errors import ConfigError


@dataclass(frozen=True)
class Outline:
    """Monitored bodies and sites of a robot by sensor name.

    Attributes:
        monitored: name -> (body, rank among its colliding geoms, or None for all of them).
        sites: name -> (body, position in its frame in m).
        without_ground: the MJCF without its includes.
    """

    monitored: dict[str, tuple[str, int | None]]
    sites: dict[str, tuple[str, tuple[float, ...]]]
    without_ground: str


def read_outline(robot: Robot) -> Outline:
    """Read the outline of `robot`, whose MJCF MuJoCo compiles.

    Raises:
        ConfigError: a joint, body or site of the robot is in an included file, which Genesis does not get.
    """
    tree = ElementTree.parse(robot.mjcf)
    root = tree.getroot()
    geoms: dict[str | None, tuple[str, int]] = {}
    sites: dict[str | None, tuple[str, tuple[float, ...]]] = {}
    for body in root.iter("body"):
        colliding = [g for g in body.findall("geom") if g.get("class") != "visual"]
        name = body.get("name", "")
        geoms |= {g.get("name"): (name, rank) for rank, g in enumerate(colliding)}
        sites |= {s.get("name"): (name, _numbers(s.get("pos", "0 0 0"))) for s in body.findall("site")}
    own = {joint.get("name") for joint in root.iter("joint")}
    own |= geoms.keys() | sites.keys() | {body.get("name") for body in root.iter("body")}
    named = [sensor.get(key) for sensor in root.iter("contact") for key in ("body2", "geom2")]
    named += [sensor.get("objname") for sensor in root.iter("framepos")]
    if away := [name for name in (*robot.joints, *filter(None, named)) if name not in own]:
        raise ConfigError(
            f"The Robot `{robot.name}`: {', '.join(away)} not in {robot.mjcf} itself. Genesis reads that file without "
            "its includes, for ground and light: put the robot into it, or choose sim=mujoco."
        )
    monitored: dict[str, tuple[str, int | None]] = {}
    for sensor in root.iter("contact"):
        name = sensor.get("name", "").removeprefix("contact_")
        if sensor.get("body2"):
            monitored[name] = (sensor.attrib["body2"], None)
        elif sensor.get("geom2"):
            monitored[name] = geoms[sensor.attrib["geom2"]]
    tracked = {s.attrib["name"].removeprefix("pos_"): sites[s.attrib["objname"]] for s in root.iter("framepos")}
    for include in root.findall("include"):
        root.remove(include)
    return Outline(monitored, tracked, ElementTree.tostring(root, encoding="unicode"))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(x) for x in text.split())
