"""Peak memory of `stesa segment` on a short and a long video, which should not differ.

    python benchmarks/memory.py --frames 200 10000

The video is the demo clip over and over, at its 854×480; --size is that of the network: a small one is faster, and
leaves all that could grow with the length of a video as it is."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio_ffmpeg

DEMO = Path(__file__).parents[1] / "assets" / "demo.mp4"


def peak(frames: int, size: int, folder: Path) -> float:
    """Peak resident memory of a run, in MB."""
    video = folder / f"{frames}.mp4"
    loop = ["-v", "error", "-stream_loop", "-1", "-i", str(DEMO), "-frames:v", str(frames), "-c", "copy", str(video)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *loop], check=True)
    mask = str(DEMO.with_suffix(".png"))
    command = [sys.executable, "-m", "stesa_cli", "segment", str(video), "--mask", mask, "--size", str(size)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    written = len(list((folder / f"{frames}_stesa" / "masks").iterdir()))
    assert status == 0 and written == frames, (status, written)
    return usage.ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[200, 10_000])
    parser.add_argument("--size", type=int, default=480)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peaks = {frames: peak(frames, arguments.size, Path(folder)) for frames in arguments.frames}
    for frames, megabytes in peaks.items():
        print(f"{frames:6d} frames: {megabytes:7.0f} MB, {megabytes / peaks[arguments.frames[0]]:.2f} times the first")


if __name__ == "__main__":
    main()
