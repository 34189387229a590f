"""The tank: a small solid model, turned, projected, lit and painted in the colours of its surroundings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .landscape import Light, Season
from .noise import FloatArray, fractal, smoothstep

Points = npt.NDArray[np.float64]

# The model: length 1 along x (front at +x), y up from the ground, z to the side.
_TRACK = [
    (-0.49, 0.13),
    (-0.42, 0.01),
    (-0.36, 0.0),
    (0.33, 0.0),
    (0.4, 0.02),
    (0.5, 0.13),
    (0.46, 0.18),
    (-0.45, 0.18),
]
_HULL = [(-0.5, 0.12), (-0.47, 0.235), (0.2, 0.245), (0.49, 0.16), (0.43, 0.06), (-0.43, 0.06)]
_SKIRT = [(-0.47, 0.145), (-0.47, 0.19), (0.46, 0.175), (0.47, 0.135)]
_INNER, _OUTER = 0.16, 0.275
_ELEVATION = math.radians(9)  # the camera looks slightly down

BODY, RUBBER, STEEL = 0, 1, 2


@dataclass(frozen=True)
class Pose:
    """How one tank stands.

    Attributes:
        yaw: radians, where the front points: 0 to the right, π to the left, positive away from the viewer.
        turret: radians, the turret's angle against the hull.
        raise_: radians, the barrel's elevation.
        wheels: road wheels on a side.
    """

    yaw: float
    turret: float
    raise_: float
    wheels: int


def make_pose(rng: np.random.Generator) -> Pose:
    """Facing either way, up to 50° from a pure side view, the turret turned a little."""
    yaw = float(rng.uniform(-0.87, 0.87)) + (math.pi if rng.random() < 0.5 else 0.0)
    return Pose(yaw, float(rng.normal(0, 0.3)), float(rng.uniform(0.0, 0.14)), int(rng.integers(5, 8)))


class _Drawing:
    """Polygons in three dimensions onto a shade picture and a material picture."""

    def __init__(self, pose: Pose, length: int, sun_side: float) -> None:
        self.unit = length
        self.width, self.height = int(length * 1.9), int(length * 0.85)
        self.shade = Image.new("L", (self.width, self.height))
        self.material = Image.new("L", (self.width, self.height))
        self.alpha = Image.new("L", (self.width, self.height))
        self._pens = [ImageDraw.Draw(image) for image in (self.shade, self.material, self.alpha)]
        self.yaw = pose.yaw
        light = (sun_side * 0.65, 0.7, 0.3)
        self._light = tuple(v / math.hypot(*light) for v in light)

    def _turn(self, points: Points) -> Points:
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        x, y, z = points[:, 0], points[:, 1], points[:, 2]
        return np.stack([x * c + z * s, y, -x * s + z * c], axis=1)  # z now points towards the viewer

    def depth(self, x: float, z: float) -> float:
        """How near to the viewer a point of the model is; larger is nearer."""
        return float(self._turn(np.array([[x, 0.0, z]]))[0, 2])

    def face(self, points: Points, material: int, tone: float = 1.0, two_sided: bool = False) -> None:
        """Draw a flat polygon [n, 3] if its front (counter-clockwise) is turned to the viewer."""
        turned = self._turn(points)
        normal = _normal(turned)
        towards = normal[1] * math.sin(_ELEVATION) + normal[2] * math.cos(_ELEVATION)
        if towards < 0:
            if not two_sided:
                return
            normal = (-normal[0], -normal[1], -normal[2])
        # Half from the sun's side, half from above; the renderer splits it again by weather.
        direct = max(0.0, sum(n * s for n, s in zip(normal, self._light, strict=True)))
        above = 0.5 + 0.5 * normal[1]
        value = tone * (0.3 + 0.36 * above + 0.42 * direct)
        x = self.width / 2 + self.unit * turned[:, 0]
        rise = turned[:, 1] * math.cos(_ELEVATION) - turned[:, 2] * math.sin(_ELEVATION)
        y = self.height * 0.86 - self.unit * rise
        outline = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
        for pen, fill in zip(self._pens, (int(255 * min(value, 1.0)), 80 * material, 255), strict=True):
            pen.polygon(outline, fill=fill)

    def prism(self, profile: list[tuple[float, float]], z0: float, z1: float, material: int, tone: float = 1.0) -> None:
        """A side profile, clockwise as listed (x, y), extruded from z0 to z1 > z0."""
        p = np.array(profile)
        n = len(p)
        front = np.column_stack([p, np.full(n, z1)])
        back = np.column_stack([p, np.full(n, z0)])
        if _area(p) < 0:
            front, back = front[::-1], back[::-1]
        for i in range(n):
            j = (i + 1) % n
            self.face(np.array([front[i], back[i], back[j], front[j]]), material, tone)
        self.face(front, material, tone)
        self.face(back[::-1], material, tone)

    def frustum(
        self, bottom: Points, top: Points, low: float, high: float, material: int = BODY, tone: float = 1.0
    ) -> None:
        """A tapering block between two counter-clockwise (seen from above) outlines [n, 2] of (x, z)."""
        n = len(bottom)
        b = np.column_stack([bottom[:, 0], np.full(n, low), bottom[:, 1]])
        t = np.column_stack([top[:, 0], np.full(n, high), top[:, 1]])
        for i in range(n):
            j = (i + 1) % n
            self.face(np.array([b[i], b[j], t[j], t[i]]), material, tone)
        self.face(t, material, tone)

    def disc(self, x: float, y: float, z: float, radius: float, material: int, tone: float) -> None:
        """A wheel standing in the x-y plane."""
        a = np.linspace(0, 2 * math.pi, 14, endpoint=False)
        points = np.column_stack([x + radius * np.cos(a), y + radius * np.sin(a), np.full(14, z)])
        self.face(points, material, tone, two_sided=True)


def _normal(p: Points) -> tuple[float, float, float]:
    """Unit normal of a polygon's first corner (np.cross takes ten times as long for two vectors)."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = p[:3].tolist()
    ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - bx, cy - by, cz - bz
    n = (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
    size = math.hypot(*n) + 1e-9
    return n[0] / size, n[1] / size, n[2] / size


def _area(p: Points) -> float:
    q = np.roll(p, -1, axis=0)
    return float(np.sum(p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1])) / 2


def _outline(rx: float, rz: float, corner: float, x: float = 0.0, z: float = 0.0) -> Points:
    """An octagon, counter-clockwise from above where z points down the page: x right, z towards the viewer."""
    c = 1 - corner
    unit = [(1, c), (1, -c), (c, -1), (-c, -1), (-1, -c), (-1, c), (-c, 1), (c, 1)]
    return np.array([(x + rx * a, z + rz * b) for a, b in unit])


def _running_gear(drawing: _Drawing, side: int, wheels: int) -> None:
    z0, z1 = (_INNER, _OUTER) if side > 0 else (-_OUTER, -_INNER)
    drawing.prism(_TRACK, z0, z1, RUBBER, 0.62)
    face = side * (_OUTER + 0.002)
    if drawing.depth(0, face) < drawing.depth(0, 0):
        return
    for i in range(wheels):
        x = -0.34 + 0.66 * i / (wheels - 1)
        radius = min(0.072, 0.32 / wheels)
        drawing.disc(x, radius + 0.012, face, radius, RUBBER, 0.8)
        drawing.disc(x, radius + 0.012, face, radius * 0.68, BODY, 0.95)
        drawing.disc(x, radius + 0.012, face, radius * 0.24, STEEL, 0.6)
    for x in (-0.42, 0.425):
        drawing.disc(x, 0.108, face, 0.052, STEEL, 0.8)
    z0, z1 = sorted((side * _OUTER, side * (_OUTER + 0.02)))
    drawing.prism(_SKIRT, z0, z1, BODY, 0.92)


def _turret(drawing: _Drawing, pose: Pose) -> None:
    c, s = math.cos(pose.turret), math.sin(pose.turret)

    def turned(points: Points) -> Points:
        return np.column_stack([-0.03 + points[:, 0] * c + points[:, 1] * s, -points[:, 0] * s + points[:, 1] * c])

    def barrel() -> None:
        lift = math.sin(pose.raise_)
        for start, end, radius in ((0.2, 0.3, 0.042), (0.28, 0.76, 0.017), (0.72, 0.8, 0.027)):
            ends = turned(np.array([(start, 0.0), (end, 0.0)]))
            low, high = 0.315 + lift * (start - 0.2), 0.315 + lift * (end - 0.2)
            for tone, up, down in ((1.0, 1.0, -0.1), (0.62, 0.1, -1.0)):  # a round tube: light above, dark below
                quad = [(ends[0], low + radius * down), (ends[1], high + radius * down)]
                quad += [(ends[1], high + radius * up), (ends[0], low + radius * up)]
                drawing.face(np.array([(p[0], y, p[1]) for p, y in quad]), BODY, tone, two_sided=True)

    muzzle = turned(np.array([(1.0, 0.0)]))[0]
    away = drawing.depth(*muzzle) < drawing.depth(-0.03, 0)
    if away:
        barrel()
    bottom, top = turned(_outline(0.245, 0.2, 0.45)), turned(_outline(0.17, 0.14, 0.45, x=-0.02))
    drawing.frustum(bottom, top, 0.24, 0.375)
    drawing.frustum(turned(_outline(0.07, 0.15, 0.1, x=-0.27)), turned(_outline(0.06, 0.13, 0.1, x=-0.26)), 0.27, 0.35)
    hatch = _outline(0.06, 0.06, 0.55, x=-0.06, z=0.05)
    drawing.frustum(turned(hatch), turned(hatch), 0.375, 0.405, BODY, 0.9)
    if not away:
        barrel()


def draw_tank(
    rng: np.random.Generator, pose: Pose, length: int, light: Light, season: Season, sun_side: float
) -> tuple[FloatArray, float]:
    """A tank of hull length `length` pixels.

    Args:
        sun_side: -1 (the sun is to its left) to 1.

    Returns:
        float32 [h, w, 4]: premultiplied RGB and coverage; and how far below the patch's top the ground is, 0..1.
    """
    drawing = _Drawing(pose, length * 2, sun_side)
    near = 1 if drawing.depth(0, 1) > 0 else -1
    _running_gear(drawing, -near, pose.wheels)
    drawing.prism(_HULL, -_OUTER * 0.98, _OUTER * 0.98, BODY)
    _running_gear(drawing, near, pose.wheels)
    for x in (-0.36, -0.2):  # stowage on the engine deck
        drawing.frustum(_outline(0.06, 0.1, 0.1, x=x, z=0.0), _outline(0.05, 0.09, 0.1, x=x, z=0.0), 0.24, 0.275)
    _turret(drawing, pose)

    size = (drawing.width // 2, drawing.height // 2)
    half = [
        np.asarray(im.resize(size, Image.Resampling.BOX), np.float32) / 255 for im in (drawing.shade, drawing.alpha)
    ]
    material = np.asarray(drawing.material.resize(size, Image.Resampling.NEAREST))
    shade, alpha = half
    height, width = alpha.shape
    paint = _camouflage(rng, height, width, length, season)
    paint[material == 80 * RUBBER] = season.earth * np.float32(0.62)
    paint[material == 80 * STEEL] = season.earth * np.float32(0.8)
    # The side light counts by weather: under clouds all faces are lit alike from above.
    contrast = 1.0 if light.sunny else 0.55
    tone = 1 + ((shade / np.maximum(alpha, 1e-3)) / 0.62 - 1) * contrast
    # Dust and shade gather towards the ground.
    low = np.linspace(1.06, 0.72, height, dtype=np.float32)[:, None]
    lit = light.ambient * 0.85 + light.direct * 0.62
    patch = np.empty((height, width, 4), np.float32)
    patch[..., :3] = paint * (tone * low)[..., None] * lit * alpha[..., None]
    patch[..., 3] = alpha
    return patch, 0.86


def _camouflage(rng: np.random.Generator, height: int, width: int, length: int, season: Season) -> FloatArray:
    """Three-colour flecktarn from the meadow's and the wood's own colours, float32 [height, width, 3]."""
    cells = (max(2, round(5 * height / length)), max(2, round(5 * width / length)))
    first = fractal(rng, height, width, cells, 2, 0.5)
    second = fractal(rng, height, width, cells, 2, 0.5)
    green = season.grass * np.float32(0.82)
    dark = season.conifer * np.float32(0.8)
    brown = season.earth * np.float32(0.98)
    paint = np.broadcast_to(green, (height, width, 3)).copy()
    paint += (brown - paint) * smoothstep(first, 0.56, 0.64)[..., None]
    paint += (dark - paint) * smoothstep(second, 0.56, 0.64)[..., None]
    return paint
