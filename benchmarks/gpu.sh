#!/usr/bin/env bash
# What only a GPU can show, in under eight minutes: tests, a killed run that goes on, frames/s and memory, training steps.
#
#     bash benchmarks/gpu.sh        # PYTHON=… for another than python3, DATA=… for another than ../shared/data
#     bash benchmarks/gpu.sh cpu    # tries the script itself; FRAMES=5 CLIP=60 STEPS=3 make that shorter
#
# Where Python has not what the project needs, it is installed into .venv. Exit code 1 when anything failed.
set -uo pipefail
cd "$(dirname "$0")/.."
device=${1:-cuda}
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1 STESA_TEST_DEVICE=$device
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

python=${PYTHON:-python3}
needs="import accelerate, cv2, hypothesis, imageio_ffmpeg, pycocotools, pydantic, pytest, tensorboard, timm, typer"
if ! "$python" -c "$needs" 2>/dev/null; then
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    python=.venv/bin/python
    "$python" -c "$needs" 2>/dev/null || "$python" -m pip install -q -e '.[dev]' || exit 1
fi

failed=0
step() { # NAME SECONDS COMMAND…: its output is shown, and kept; the table has the lines that match $keep
    local name=$1 began=$SECONDS code
    echo "== $name"
    timeout -k 5 "$2" "${@:3}" 2>&1 | tee "$out/$name"
    code=${PIPESTATUS[0]}
    [ "$code" = 0 ] || failed=1
    {
        echo "$name: $([ "$code" = 0 ] && echo passed || echo "FAILED ($code)"), $((SECONDS - began)) s"
        grep -E "$keep" "$out/$name" | sed 's/^/    /'
    } >>"$out/table"
}

killed() { # a run that is killed when it has saved its state goes on, and ends like one that is not
    local clip=$out/clip.mp4 ffmpeg pid
    ffmpeg=$("$python" -c "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")
    "$ffmpeg" -v error -stream_loop -1 -i assets/demo.mp4 -frames:v "${CLIP:-400}" -c copy "$clip" || return 1
    local often="from stesa_cli.segmentation import run; run.STRETCH = 1; from stesa_cli.cli import main; main()"
    local segment=("$python" -c "$often" segment "$clip" --mask assets/demo.png)
    segment+=(--preset fast --save masks --device "$device")
    "${segment[@]}" -o "$out/killed" &
    pid=$!
    while kill -0 $pid 2>/dev/null && [ ! -f "$out/killed/.stesa/state.pt" ]; do sleep 0.1; done
    sleep 0.5
    kill -KILL $pid || return 1 # it has ended by then: a larger CLIP
    wait $pid
    "${segment[@]}" -o "$out/killed" --resume && "${segment[@]}" -o "$out/whole" || return 1
    "$python" - "$out" <<'END'
import sys
from pathlib import Path

from stesa_cli.masks import read_mask

whole, gone_on = (sorted((Path(sys.argv[1]) / run / "masks").glob("*.png")) for run in ("whole", "killed"))
equal = [(read_mask(a) == read_mask(b)).mean() for a, b in zip(whole, gone_on, strict=True)]
print(f"equal pixels in {len(equal)} frames: {100 * sum(equal) / len(equal):.3f} %, at least {100 * min(equal):.3f} %")
END
}

train() {
    local data=${DATA:-../shared/data}
    if [ ! -d "$data" ]; then # pictures of no meaning take as long
        data=$out/data
        "$python" -c "from pathlib import Path; from tests.tiny import lay_out; lay_out(Path('$data'))" || return 1
    fi
    "$python" benchmarks/train.py --data "$data" --steps "${STEPS:-20}" --device "$device" --workers $(($(nproc) / 2))
}

export -f killed train
export python out device
keep='passed|failed' step tests 150 "$python" -m pytest -q tests/inference tests/segmentation/test_job.py
keep='frames/s at|equal pixels' step resume 120 bash -c killed
keep='^size' step speed 80 "$python" benchmarks/segment.py --device "$device" --frames "${FRAMES:-60}"
keep='^[0-9].*(clips of|steps/s)|^seconds|^waiting' step training 80 bash -c train

echo "== $(date -u +%F), $SECONDS s"
about="torch.cuda.get_device_name() if '$device' == 'cuda' else '$device'"
"$python" -c "import torch; print(f'torch {torch.__version__}', $about)"
cat "$out/table"
exit $failed
