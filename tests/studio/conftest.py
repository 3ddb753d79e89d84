"""A studio of a tiny clip, and a real one in headless Chromium."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from stesa_cli.inference.config import InferenceConfig
from stesa_cli.masks import write_mask
from stesa_cli.segmentation.job import SegmentJob
from stesa_cli.studio.session import Session
from stesa_cli.video.seeking import SeekableVideo

from ..clips import make_video
from ..networks import tiny_weights

CHROMIUM = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"


@pytest.fixture
def labels():
    """The mask of a first frame."""
    labels = np.zeros((48, 64), np.uint8)
    labels[5:20, 5:30], labels[25:45, 30:60] = 2, 9
    return labels


@pytest.fixture
def job(tmp_path):
    clip = make_video(tmp_path / "clip.mp4", frames=30)
    weights = str(tiny_weights(tmp_path / "tiny.safetensors"))
    config = InferenceConfig(finetune=False)
    return SegmentJob(clip, (), tmp_path / "clip_stesa", weights=weights, config=config, device="cpu")


@pytest.fixture
def session(job) -> Iterator[Session]:
    with open_session(job) as session:
        yield session


@contextmanager
def open_session(job: SegmentJob) -> Iterator[Session]:
    video = SeekableVideo(job.video)
    session = Session(job, video)
    yield session
    session.close()
    video.close()


@contextmanager
def studio(*arguments: str | Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``stesa studio`` as a process of its own: its address, and the process."""
    command = [sys.executable, "-m", "stesa_cli", "studio", "--no-browser", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "300"}) as process:
        try:
            said = ""
            while not (found := re.search(r"http://\S+", said)):
                line = process.stderr.readline()
                assert line, said
                said += line
            yield found[0], process
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def chromium():
    """Debian's Chromium, driven by Playwright. In CI its absence is a failure; elsewhere the test is skipped."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not path:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    flags = [*CHROMIUM.split(), "--disable-sync", "--disable-quic"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page whose errors fail the test."""
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors


@pytest.fixture
def first_mask(tmp_path, labels) -> Path:
    write_mask(tmp_path / "first.png", labels)
    return tmp_path / "first.png"
