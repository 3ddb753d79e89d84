"""Make the demo clip: demo.mp4, demo.png and demo_truth/ beside this file, as README.md there tells.

Run ``python assets/make_demo.py`` with the ``dev`` extra installed; the same pictures come out each time.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from stesa_cli.masks import write_mask
from stesa_cli.video.writing import video_writer

FOLDER = Path(__file__).parent
WIDTH, HEIGHT, FRAMES, RATE = 854, 480, 60, Fraction(25)
EXPOSURES = np.linspace(-0.18, 0.18, 4)  # of a frame's time: a picture is their mean, which blurs what moves
RNG = np.random.default_rng(2017)

# Outlines drawn by hand, in pixels of the photographs; GrabCut finds the exact edge near them.
ASTRONAUT = [
    *[(36, 530), (28, 490), (22, 450), (19, 420), (19, 395), (22, 365), (25, 335), (34, 305), (42, 285), (49, 268)],
    *[(60, 250), (75, 235), (90, 222), (105, 208), (112, 202), (113, 190), (120, 177), (132, 160), (150, 151)],
    *[(170, 148), (182, 149), (180, 134), (173, 124), (162, 112), (155, 98), (153, 80), (158, 60), (170, 47)],
    *[(189, 38), (205, 22), (225, 16), (245, 17), (265, 28), (281, 42), (293, 58), (300, 75), (302, 92), (297, 108)],
    *[(287, 122), (278, 129), (270, 136), (263, 149), (258, 164), (256, 173), (270, 186), (287, 201), (298, 216)],
    *[(304, 236), (318, 242), (331, 253), (341, 268), (348, 283), (354, 300), (359, 318), (363, 337), (368, 347)],
    *[(382, 345), (400, 343), (420, 346), (441, 355), (460, 369), (475, 386), (486, 405), (493, 425), (497, 452)],
    *[(504, 460), (507, 480), (507, 530)],
]
SAUCER = ((277.5, 219.8), (400.5, 338.5), 7.0)  # centre, axes, degrees: a circle seen aslant
RIM = ((289.5, 113.0), (235.0, 189.0), 6.0)
SPOON = [(396, 72), (403, 67), (413, 67), (421, 71), (424, 79), (420, 92), (416, 106), (404, 120)]


def draw(photo: np.ndarray, *shapes: list[tuple[int, int]] | tuple) -> np.ndarray:
    """A mask (H, W) uint8 0/1 of polygons (lists of points) and ellipses."""
    mask = np.zeros(photo.shape[:2], np.uint8)
    for shape in shapes:
        if isinstance(shape, list):
            cv2.fillPoly(mask, [np.array(shape)], 1)
        else:
            cv2.ellipse(mask, shape, 1, cv2.FILLED)
    return mask


def cut_out(photo: np.ndarray, inside: np.ndarray, band: int, scale: float) -> np.ndarray:
    """What a mask drawn to within ``band`` pixels encloses: float32 RGBA 0…1, premultiplied, free of what is behind."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    core, reach = cv2.erode(inside, disc, borderValue=1), cv2.dilate(inside, disc)
    seeds = np.where(core, cv2.GC_FGD, np.where(reach, np.where(inside, cv2.GC_PR_FGD, cv2.GC_PR_BGD), cv2.GC_BGD))
    seeds = seeds.astype(np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(photo[..., ::-1].copy(), seeds, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    found = ((seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)).astype(np.float32)
    smooth = cv2.GaussianBlur(found, None, 2)
    alpha = np.clip((smooth - 0.5) * 2.2 + 0.3, 0, 1)  # half a pixel inside the edge found, and soft
    sure = (cv2.erode(found, np.ones((5, 5)), borderValue=1) > 0).astype(np.float32)[..., None]
    colour = photo.astype(np.float32) / 255
    near = cv2.GaussianBlur(colour * sure, None, 3) / np.maximum(cv2.GaussianBlur(sure, None, 3), 1e-4)[..., None]
    layer = np.dstack([np.where(sure > 0, colour, near), np.ones_like(alpha)]) * alpha[..., None]
    return cv2.resize(layer, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)


def place(
    layer: np.ndarray, centre: tuple[float, float], zoom: float, angle: float, at: tuple[float, float]
) -> np.ndarray:
    """A layer on an empty frame (HEIGHT, WIDTH, 4), its ``centre`` put ``at`` a point of it, turned by degrees."""
    matrix = cv2.getRotationMatrix2D(centre, angle, zoom)
    matrix[:, 2] += np.subtract(at, centre)
    return cv2.warpAffine(layer, matrix, (WIDTH, HEIGHT))


def sway(layer: np.ndarray, head: float, breath: float) -> np.ndarray:
    """The astronaut with her head moved to the right, bending at the neck, and her chest raised, in pixels."""
    y, x = np.mgrid[: layer.shape[0], : layer.shape[1]].astype(np.float32)
    up = 1 - y / len(layer)
    neck = 1 / (1 + np.exp(-(up - 0.6) * 14))
    chest = np.exp(-(((up - 0.35) / 0.25) ** 2))
    return cv2.remap(layer, x - head * (neck + 0.4 * up), y + breath * (chest + neck), cv2.INTER_LINEAR)


def wander(*periods: float) -> Callable[[float], float]:
    """A smooth motion without aim, between about -1 and 1: sines of these periods, in frames."""
    phases = RNG.uniform(0, 2 * np.pi, len(periods))
    return lambda t: float(np.mean(np.sin(2 * np.pi * t / np.array(periods) + phases)))


def brick_wall() -> np.ndarray:
    """A pillar of dark bricks, out of focus, near the camera: premultiplied RGBA."""
    bricks = cv2.resize(data.brick().T, (300, 900)).astype(np.float32)[..., None] / 255
    shade = np.linspace(1.1, 0.35, 300)[None, :, None]
    wall = np.dstack([bricks * (0.52, 0.30, 0.22) * shade, np.ones((900, 300))])
    return cv2.GaussianBlur(np.pad(wall, ((0, 0), (12, 12), (0, 0))).astype(np.float32), None, 2.5)


class Scene:
    """Four layers and their motions; times are in frames."""

    def __init__(self) -> None:
        astronaut, coffee = data.astronaut(), data.coffee()
        sky = cv2.resize(data.rocket(), None, fx=1.75, fy=1.75, interpolation=cv2.INTER_CUBIC)
        self.sky = cv2.GaussianBlur(sky, None, 1.2).astype(np.float32) / 255
        self.astronaut = cut_out(astronaut, draw(astronaut, ASTRONAUT), 6, 0.88)
        self.cup = cut_out(coffee, draw(coffee, SAUCER, RIM, SPOON), 2, 0.5)
        self.wall = brick_wall()
        self.shake_x, self.shake_y, self.roll = wander(9, 17, 31), wander(8, 13, 29), wander(11, 37)
        self.head, self.breath, self.drift = wander(33, 57), wander(48), wander(70)

    def layers(self, t: float) -> list[np.ndarray]:
        """Sky, astronaut, cup and wall as the camera sees them, each (HEIGHT, WIDTH, 4) float32 premultiplied."""
        s = t / (FRAMES - 1)
        x, y, roll = 3 * self.shake_x(t) - 14 * s, 3 * self.shake_y(t), 0.35 * self.roll(t)
        sky = np.dstack([self.sky, np.ones(self.sky.shape[:2], np.float32)])
        person = sway(self.astronaut, 9 * self.head(t), 2.5 * self.breath(t))
        cup_at = (655 - 330 * np.sin(np.pi * s) + 25 * s + x, 112 + 215 * s + 50 * np.sin(np.pi * s) + y)
        return [
            place(sky, (560, 373), 1.02, roll, (545 + 0.5 * x, 265 + 0.5 * y)),
            place(
                person, (225, 225), 1 + 0.05 * s, roll + 1.5 * self.drift(t), (262 + 16 * self.drift(t) + x, 271 + y)
            ),
            place(self.cup, (139, 105), 0.88 + 0.14 * np.sin(np.pi * s), 14 - 46 * s + roll, cup_at),
            place(self.wall, (162, 462), 1, roll, (1000 - 86 * s + 2 * x, 240 + 2 * y)),
        ]

    def exposure(self, t: float) -> np.ndarray:
        """The light of one moment: (HEIGHT, WIDTH, 3) float32, 0…1."""
        sky, person, cup, wall = self.layers(t)
        light = 1 + 0.12 * np.sin(2 * np.pi * t / 75) + 0.03 * np.sin(2 * np.pi * t / 8)
        dusk = np.array([0.86, 0.88, 0.98], np.float32)
        shadow = cv2.GaussianBlur(np.roll(cup[..., 3], (20, 14), (0, 1)), None, 11)[..., None]
        person[..., :3] *= dusk * (0.9 + 0.1 * light) * (1 - 0.55 * shadow)
        cup[..., :3] *= dusk * 1.05 * light
        wall[..., :3] *= light
        picture = sky[..., :3] * light
        for layer in (person, cup, wall):
            picture = layer[..., :3] + (1 - layer[..., 3:]) * picture
        return picture

    def frame(self, index: int) -> np.ndarray:
        """What the camera records: uint8 RGB, with the blur of motion and the noise of its sensor."""
        light = np.mean([self.exposure(index + shift) for shift in EXPOSURES], axis=0)
        noise = RNG.normal(0, 1, light.shape) * (0.006 + 0.008 * np.sqrt(light.clip(0)))
        return ((light + cv2.GaussianBlur(noise, None, 0.6)) * 255).clip(0, 255).round().astype(np.uint8)

    def truth(self, index: int) -> np.ndarray:
        """Labels (HEIGHT, WIDTH) uint8 in the middle of the exposure: a pixel is its top-most layer of alpha ≥ 0.5."""
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for layer, label in zip(self.layers(index)[1:], (1, 2, 0), strict=True):
            labels[layer[..., 3] >= 0.5] = label
        return labels


def main() -> None:
    scene = Scene()
    with video_writer(FOLDER / "demo.mp4", RATE, crf=16, effort="-preset slow") as write:
        for index in range(FRAMES):
            write(scene.frame(index), float(index / RATE))
            write_mask(FOLDER / "demo_truth" / f"{index:05d}.png", scene.truth(index))
    write_mask(FOLDER / "demo.png", scene.truth(0))


if __name__ == "__main__":
    main()
