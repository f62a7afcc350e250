"""Monitored bodies and sites of a robot, and its model without the ground, read from the MJCF."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from regimen.envs.robots.robot import Robot


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
    """Read the outline of `robot`."""
    tree = ElementTree.parse(robot.mjcf)
    root = tree.getroot()
    geoms: dict[str | None, tuple[str, int]] = {}
    sites: dict[str | None, tuple[str, tuple[float, ...]]] = {}
    for body in root.iter("body"):
        colliding = [g for g in body.findall("geom") if g.get("class") != "visual"]
        geoms |= {g.get("name"): (body.attrib["name"], rank) for rank, g in enumerate(colliding)}
        sites |= {s.get("name"): (body.attrib["name"], _numbers(s.get("pos", "0 0 0"))) for s in body.findall("site")}
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
