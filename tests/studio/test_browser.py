"""The page in real Chromium, as a hand uses it."""

import io
import shlex
import time
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from stesa_cli.masks import read_mask, write_mask
from stesa_cli.video.reading import open_video

from ..networks import tiny_weights
from .conftest import studio

ASSETS = Path(__file__).parents[2] / "assets"
DEMO = ASSETS / "demo.mp4"


class Hand:
    """What a person does on the page of a video of 854×480."""

    def __init__(self, page: Page, url: str, output: Path) -> None:
        self.page, self.output = page, output
        page.goto(url)
        self.settled(0)
        box = page.locator("#view").bounding_box()
        self.scale = min(box["width"] / 854, box["height"] / 480) * 0.98
        self.left = box["x"] + (box["width"] - 854 * self.scale) / 2
        self.top = box["y"] + (box["height"] - 480 * self.scale) / 2

    def settled(self, frame: int) -> None:
        expect(self.page.locator("#time")).not_to_be_empty()
        expect(self.page.locator("#timeline")).to_have_attribute("aria-valuenow", str(frame))

    def go(self, frame: int) -> None:
        self.page.fill("#frame", str(frame))
        self.page.keyboard.press("Enter")
        self.settled(frame)
        self.page.locator("#view").focus()

    def place(self, x: float, y: float) -> tuple[float, float]:
        return self.left + x * self.scale, self.top + y * self.scale

    def draw(self, *corners: tuple[float, float]) -> None:
        self.page.mouse.move(*self.place(*corners[0]))
        self.page.mouse.down()
        for corner in corners[1:]:
            self.page.mouse.move(*self.place(*corner), steps=4)
        self.page.mouse.up()

    def click(self, x: float, y: float, plus: bool = True) -> None:
        with self.page.expect_response(lambda answer: "/snap/" in answer.url):
            self.page.mouse.click(*self.place(x, y), button="left" if plus else "right")

    def saves(self, *corners: tuple[float, float]) -> None:
        """Draw what changes the mask, and wait until it is kept."""
        with self.page.expect_response(lambda answer: answer.request.method == "PUT"):
            self.draw(*corners)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def propagate(self) -> None:
        self.press("g")
        expect(self.page.locator("#progress")).to_be_visible()
        expect(self.page.locator("#progress")).to_be_hidden(timeout=240_000)
        expect(self.page.locator("#missing")).to_have_text("All frames are done.")


def next_click(truth: np.ndarray, found: np.ndarray) -> tuple[int, int, bool]:
    """Amid the largest error: x, y, and whether the object is there."""
    import cv2

    best = []
    for plus, error in ((True, truth & ~found), (False, found & ~truth)):
        depth = cv2.distanceTransform(np.pad(error, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        best.append((depth.max(), int(x), int(y), plus))
    return max(best)[1:]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.mark.parametrize("i", [1, 2])
def test_six_clicks_find_an_object(page, tmp_path, i):
    truth = read_mask(ASSETS / "demo.png") == i
    with studio(DEMO, "-o", tmp_path / "out") as (url, _):
        hand = Hand(page, url, tmp_path / "out")
        found, best = np.zeros_like(truth), 0.0
        for _ in range(6):
            with page.expect_response(lambda answer: answer.request.method == "PUT"):
                hand.click(*next_click(truth, found))
            found = read_mask(tmp_path / "out/prompts/00000.png") == 1
            best = max(best, (found & truth).sum() / (found | truth).sum())
            if best >= 0.9:
                return
    raise AssertionError(best)


@pytest.mark.parametrize("own", [True, False], ids=["tiny", "shipped"])
def test_mark_propagate_correct_export_and_come_back(page, tmp_path, weights, own):
    output = tmp_path / "out"
    network = ["--weights", weights, "--size", "96"] if own else ["--preset", "fast", "--size", "128"]
    options = [DEMO, "-o", output, "--device", "cpu", *network, "--no-finetune"]
    with studio(*options) as (url, _):
        hand = Hand(page, url, output)
        hand.press("r")
        hand.saves((560, 20), (760, 210))
        hand.press("n")
        hand.press("b")
        hand.saves((250, 200), (250, 400), (300, 200), (300, 400))
        first = read_mask(output / "prompts/00000.png")
        assert set(np.unique(first)) == {0, 1, 2} and first[300, 250] == 2
        hand.propagate()
        hand.go(30)
        hand.press("e")
        hand.saves((200, 300), (400, 320))
        hand.press("b")
        hand.saves((480, 300), (520, 260))
        expect(page.locator("#missing")).to_contain_text("30 frames to compute")
        hand.propagate()
        hand.press("x")
        page.click("#export-go")
        expect(page.locator("#export-message")).to_contain_text("60 frames written", timeout=60_000)
        words = shlex.split(page.inner_text("#command"))
    assert [w for w in words if w.startswith(("0=", "30="))] == [f"{t}={output}/prompts/{t:05d}.png" for t in (0, 30)]
    assert_equal(output, words, tmp_path / "by_command")
    with studio(*options) as (url, _):
        Hand(page, url, output)
        expect(page.locator("#missing")).to_have_text("All frames are done.")
        expect(page.locator("#objects li")).to_have_count(2)


def test_points_and_scribbles_correct_what_the_brush_has_drawn(page, tmp_path):
    output = tmp_path / "out"
    first = output / "prompts/00000.png"
    with studio(DEMO, "-o", output) as (url, _):
        hand = Hand(page, url, output)
        hand.press("]")
        hand.press("b")
        hand.saves((100, 440), (300, 440))
        hand.saves((700, 300), (800, 300))
        drawn = read_mask(first)
        hand.press("c")
        hand.saves((150, 380), (250, 400))
        added = read_mask(first)
        assert added[380:385, 150].all() and added.sum() > drawn.sum() and (added[drawn == 1] == 1).mean() > 0.9
        assert (added[:, 600:] == drawn[:, 600:]).all()
        page.keyboard.down("Shift")
        hand.saves((750, 300), (751, 300))
        page.keyboard.up("Shift")
        taken = read_mask(first)
        assert not taken[300, 750] and (taken[:, 300:500] == added[:, 300:500]).all()
        with page.expect_response(lambda answer: answer.request.method == "PUT"):
            hand.press("z")
        assert (read_mask(first) == added).all()


def test_results_are_opened_corrected_and_shown_as_out_of_date(page, tmp_path, weights):
    """The old mask of a frame that follows a correction is in stripes."""
    from stesa_cli import InferenceConfig, segment

    given = tmp_path / "first.png"
    labels = np.zeros((480, 854), np.uint8)
    labels[100:300, 100:400] = 3
    write_mask(given, labels)
    config = InferenceConfig(size=64, finetune=False)
    output = segment(DEMO, given, tmp_path / "out", save=["masks"], config=config, weights=str(weights)).job.output
    before = (output / "masks/00007.png").read_bytes()
    with studio(output) as (url, _):
        hand = Hand(page, url, output)
        expect(page.locator("#missing")).to_have_text("All frames are done.")
        hand.go(7)
        whole = page.locator("#view").screenshot()
        hand.go(5)
        hand.press("b")
        hand.saves((150, 200), (300, 200))
        expect(page.locator("#missing")).to_contain_text("55 frames to compute")
        hand.go(7)
        assert page.locator("#view").get_attribute("aria-label").endswith("out of date")
        assert page.locator("#view").screenshot() != whole
        hand.go(3)
        assert not page.locator("#view").get_attribute("aria-label").endswith("out of date")
        hand.propagate()
        hand.go(7)
        assert not page.locator("#view").get_attribute("aria-label").endswith("out of date")
    assert (output / ".studio/masks/00007.png").read_bytes() != before == (output / "masks/00007.png").read_bytes()


def assert_equal(output: Path, words: list[str], other: Path) -> None:
    """The PNGs are those that the command line writes elsewhere."""
    import subprocess
    import sys

    words = [str(other) if word == str(output) else word for word in words]
    subprocess.run([sys.executable, "-m", "stesa_cli", *words[1:]], check=True, capture_output=True)
    for kind in ("masks", "objects"):
        names = [path.relative_to(other) for path in sorted((other / kind).rglob("*.png"))]
        assert len(names) >= 60 and names == [
            path.relative_to(output) for path in sorted((output / kind).rglob("*.png"))
        ]
        assert all((output / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_undo_redo_polygon_and_the_mask_before(page, tmp_path):
    output = tmp_path / "out"
    with studio(DEMO, "-o", output) as (url, _):
        hand = Hand(page, url, output)
        hand.press("p")
        for corner in ((100, 100), (200, 100), (200, 150)):
            page.mouse.click(*hand.place(*corner))

        def saves(key: str, frame: int = 0) -> np.ndarray | None:
            with page.expect_response(lambda answer: answer.request.method == "PUT"):
                hand.press(key)
            path = output / "prompts" / f"{frame:05d}.png"
            return read_mask(path) if path.exists() else None

        drawn = saves("Enter")
        assert drawn[110, 180] == 1 and abs(int((drawn == 1).sum()) - 2500) < 120
        assert saves("z") is None
        assert (saves("Shift+Z") == drawn).all()
        hand.press("ArrowRight")
        hand.settled(1)
        assert (saves("d", 1) == drawn).all()
        assert saves("Delete", 1) is None


def test_the_keyboard_is_enough(page, tmp_path):
    output = tmp_path / "out"
    with studio(DEMO, "-o", output) as (url, _):
        hand = Hand(page, url, output)
        page.locator("#view").focus()
        hand.press("b")
        for key in ("l", "Enter", "Shift+L", "Shift+L"):
            hand.press(key)
        with page.expect_response(lambda answer: answer.request.method == "PUT"):
            hand.press("Enter")
        labels = read_mask(output / "prompts/00000.png")
        ys, xs = labels.nonzero()
        assert 425 < xs.min() + 12 < 435 and 460 < xs.max() - 12 < 480 and ys.min() < 240 < ys.max()
        hand.press("?")
        expect(page.locator("#help")).to_be_visible()
        hand.press("Escape")
        expect(page.locator("#help")).to_be_hidden()
        hand.press("End")
        hand.settled(59)


def test_a_second_tab_is_told(page, chromium, tmp_path):
    with studio(DEMO, "-o", tmp_path / "out") as (url, _):
        Hand(page, url, tmp_path / "out")
        second = chromium.new_page()
        second.goto(url)
        expect(second.locator("#closed-text")).to_contain_text("open in another tab")
        second.close()


def test_the_number_on_screen_is_that_of_the_frame(page, tmp_path):
    """The pixels of the canvas are those of the frame that the reader counts."""
    from PIL import Image

    with studio(DEMO, "-o", tmp_path / "out") as (url, _), open_video(DEMO) as frames:
        hand = Hand(page, url, tmp_path / "out")
        pictures = [frame.image for frame in frames]
        for frame in (59, 17, 16):
            hand.go(frame)
            shot = Image.open(io.BytesIO(page.locator("#view").screenshot())).convert("RGB")
            box = page.locator("#view").bounding_box()
            left, top = hand.left - box["x"], hand.top - box["y"]
            area = (left, top, left + 854 * hand.scale, top + 480 * hand.scale)
            shown = np.array(shot.resize((854, 480), box=area)).astype(int)
            off = [abs(shown - picture).mean() for picture in pictures]
            assert int(np.argmin(off)) == frame


def test_only_a_mask(page, tmp_path):
    target = tmp_path / "mask.png"
    with studio(DEMO, "--frame", "12", "-o", target) as (url, process):
        page.goto(url)
        expect(page.locator("#target")).to_contain_text("frame 12")
        expect(page.locator("#time")).not_to_be_empty()
        box = page.locator("#view").bounding_box()
        page.keyboard.press("b")
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.up()
        page.click("#finish")
        assert process.wait(60) == 0
    assert set(np.unique(read_mask(target))) == {0, 1}
    assert time.time() - target.stat().st_mtime < 60
