"""From folders on disk to scores and submissions, on data sets of a few small frames; no network."""

from zipfile import ZipFile

import cv2
import numpy as np
import pytest
from PIL import Image

from stesa_cli.data.check import require_sound
from stesa_cli.errors import InputError, OutputError, StesaError
from stesa_cli.evaluation import score_files, submission
from stesa_cli.evaluation.benchmark import Masks, find_masks, open_benchmark
from stesa_cli.evaluation.plots import moments
from stesa_cli.evaluation.scoring import score
from stesa_cli.masks import PALETTE
from stesa_cli.metrics.summary import DatasetScores, ObjectScores, SequenceScores

from ..layouts import davis, predictions, squares, youtube_vos, zipped

TRUTH = {name: [squares(t, *ids) for t in range(5)] for name, ids in (("a", (1, 2)), ("b", (1,)))}


def shifted(by: int, truth=TRUTH):
    return {name: [np.roll(labels, by, 1) for labels in masks] for name, masks in truth.items()}


@pytest.fixture
def benchmark(tmp_path):
    davis(tmp_path / "data", 2017, "val", TRUTH)
    return open_benchmark("davis", 2017, "val", tmp_path / "data")


@pytest.fixture
def secret(tmp_path):
    """The same sequences as test-dev has them: with the masks of the first frame only."""
    given = {name: [masks[0], None, None, None, None] for name, masks in TRUTH.items()}
    davis(tmp_path / "secret", 2017, "test-dev", given)
    return open_benchmark("davis", 2017, "test-dev", tmp_path / "secret")


def scored(benchmark, path):
    return score(benchmark, find_masks(path, benchmark.sequences))


@pytest.mark.parametrize(
    "folder",
    ["", "DAVIS", "davis2017", "DAVIS-2017-test-dev", "DAVIS-2017-test-dev-480p/DAVIS", "DAVIS/2017/test-dev"],
)
def test_davis_is_found_under_its_usual_names(tmp_path, folder):
    davis(tmp_path / "DAVIS-2017-trainval", 2017, "val", {"v": TRUTH["b"]})
    davis(tmp_path / folder, 2017, "test-dev", {"a": TRUTH["a"], "b": TRUTH["b"]})
    found = open_benchmark("davis", 2017, "test-dev", tmp_path, only=["b"])
    assert [s.name for s in found.sequences] == ["b"] and not found.complete
    assert [s.name for s in open_benchmark("davis", 2017, "val", tmp_path).sequences] == ["v"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("dvis", None, "val"), "no such data set 'dvis'; choose one of: davis, youtube-vos"),
        (("davis", 2018, "val"), "davis has no year 2018; choose one of: 2016, 2017"),
        (("davis", 2017, "vall"), "data: DAVIS-2017 has no split 'vall' here; choose one of: val"),
        (
            ("davis", 2017, "test-dev"),
            "data: DAVIS-2017 has no split 'test-dev' here; choose one of: val; or run: stesa data get "
            "davis-2017-test-dev",
        ),
        (
            ("davis", 2016, "val"),
            "data: no DAVIS-2016 here (ImageSets/2016, JPEGImages/480p, Annotations/480p); give the folder that holds "
            "DAVIS with --data-root or STESA_DATA; or run: stesa data get davis-2016",
        ),
        (("youtube-vos", None, "val"), "data: no YouTube-VOS here (valid/meta.json"),
        (("davis", 2017, "val", ["a", "c", "d"]), "data: davis 2017 val has no sequence c, d; choose among: a, b"),
    ],
)
def test_what_is_not_there_is_named_with_the_choices(benchmark, tmp_path, asked, message):
    dataset, year, split, *only = asked
    with pytest.raises(StesaError) as caught:
        open_benchmark(dataset, year, split, tmp_path / "data", *only)
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(message)


def test_scores_by_hand(benchmark, tmp_path):
    # Squares of 12 × 12, found 3 pixels beside: 9 of 15 columns are shared; object 2 is not found at all.
    wrong = {"a": [np.where(m == 2, 0, m) for m in shifted(3)["a"]], "b": TRUTH["b"]}
    found = scored(benchmark, predictions(tmp_path / "p", wrong))
    assert pytest.approx([9 / 15] * 3) == found.sequences["a"].objects[1].J
    assert found.sequences["a"].objects[2] == ObjectScores([0] * 3, [0] * 3)
    assert found.sequences["b"].objects == {1: ObjectScores([1] * 3, [1] * 3)}
    assert found.measures.J_mean == pytest.approx((9 / 15 + 0 + 1) / 3)
    heard = []
    again = score(benchmark, Masks(tmp_path / "p"), 2, heard.append)
    assert again.to_dict() == found.to_dict() and heard == list(benchmark.sequences)


def test_folder_zip_and_wrapped_ones_score_alike(benchmark, tmp_path):
    folder = predictions(tmp_path / "out" / "method", shifted(1))
    expected = scored(benchmark, folder).to_dict()
    assert 0 < expected["global"]["J_mean"] < 1
    wrapped = zipped(tmp_path / "wrapped.zip", folder, "method/")
    with ZipFile(wrapped, "a") as archive:
        archive.writestr("__MACOSX/method/a/._00000.png", b"")
    for path in (tmp_path / "out", zipped(tmp_path / "flat.zip", folder), wrapped):
        assert scored(benchmark, path).to_dict() == expected


def test_rgb_masks_in_palette_colours_are_understood(benchmark, tmp_path):
    folder = predictions(tmp_path / "p", TRUTH)
    file = folder / "a" / "00002.png"
    colours = PALETTE[TRUTH["a"][2]]
    Image.fromarray(colours).save(file)
    assert scored(benchmark, folder).measures.J_mean == 1
    colours[:5, :5] = 255, 0, 0
    Image.fromarray(colours).save(file)
    with pytest.raises(InputError, match=r"p/a/00002.png: holds 1 colours outside the DAVIS palette"):
        scored(benchmark, folder)
    with pytest.raises(InputError, match=r"p.zip/a/00002.png: holds 1 colours"):
        scored(benchmark, zipped(tmp_path / "p.zip", folder))


def test_missing_masks_are_all_named_at_once(benchmark, tmp_path):
    folder = predictions(tmp_path / "p", TRUTH)
    for t in range(5):
        (folder / "b" / f"{t:05d}.png").unlink()
    (folder / "a" / "00001.png").unlink()
    (folder / "a" / "00003.png").unlink()
    with pytest.raises(InputError, match=r"p: masks are missing: a/00001.png, a/00003.png, b/ \(all 3\); "):
        scored(benchmark, folder)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_mask_of_another_size_is_named(benchmark, tmp_path, jobs):
    folder = predictions(tmp_path / "p", TRUTH)
    predictions(folder, {"b": [m[:, :50] for m in TRUTH["b"]]})
    with pytest.raises(InputError, match=r"p/b/00000.png: is 50×48, but the truth is 64×48"):
        score(benchmark, Masks(folder), jobs)


def test_broken_files_are_named(benchmark, tmp_path):
    folder = predictions(tmp_path / "p", TRUTH)
    archive = zipped(tmp_path / "p.zip", folder)
    data = bytearray(archive.read_bytes())
    data[data.index(b"b/00004.png") + 40] ^= 255
    archive.write_bytes(data)
    with pytest.raises(InputError, match=r"p.zip/b/00004.png: cannot be read \(Bad CRC"):
        scored(benchmark, archive)
    (folder / "b" / "00004.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"p/b/00004.png: cannot be read"):
        scored(benchmark, folder)
    (tmp_path / "no.zip").write_bytes(b"no zip")
    for path, problem in (("no.zip", "cannot be read as a zip"), ("gone", "no such folder or zip")):
        with pytest.raises(InputError, match=f"{path}: {problem}"):
            scored(benchmark, tmp_path / path)


def test_truth_with_gaps_is_named(tmp_path):
    davis(tmp_path, 2016, "val", {"a": [*TRUTH["b"][:3], None, TRUTH["b"][4]]})
    with pytest.raises(InputError, match=r"davis-2016-val: true annotations are missing: a/00003.png"):
        score(open_benchmark("davis", 2016, "val", tmp_path), Masks(tmp_path))


@pytest.mark.parametrize(
    "listing", ["\ufeffa\nb\n", "# val\n\na  \r\n\r\n b # the second\r\n", "/JPEGImages/480p/a/00000.jpg x\nb"]
)
@pytest.mark.parametrize("suffix", [".jpeg", ".JPG", ".png", ".webp"])
def test_davis_as_others_lay_it_out(tmp_path, listing, suffix):
    root = davis(tmp_path / "data", 2017, "val", TRUTH)
    (root / "ImageSets/2017/val.txt").write_bytes(listing.encode())
    for path in root.glob("JPEGImages/480p/*/*.jpg"):
        with Image.open(path) as image:
            image.save(path.with_suffix(suffix))
        path.unlink()
    for folder in root.glob("*/480p/*"):
        (folder / "._00000.png").write_bytes(b"a Mac was here")
        (folder / "Thumbs.db").write_bytes(b"Windows was here")
    benchmark = open_benchmark("davis", 2017, "val", root)
    assert [(s.name, len(s.frames)) for s in benchmark.sequences] == [("a", 5), ("b", 5)]
    assert scored(benchmark, predictions(tmp_path / "p", TRUTH)).measures.J_mean == 1


@pytest.mark.parametrize(
    "moves",
    [
        {"Annotations/480p": "Annotations_unsupervised/480p"},
        {"Annotations/480p": "Annotations/Full-Resolution", "JPEGImages/480p": "JPEGImages/Full-Resolution"},
        {"Annotations/480p": "Annotations", "JPEGImages/480p": "JPEGImages"},
    ],
)
def test_other_folders_of_davis(tmp_path, moves):
    root = davis(tmp_path / "data", 2017, "val", TRUTH)
    for old, new in moves.items():
        for folder in sorted((root / old).iterdir()):
            (root / new).mkdir(parents=True, exist_ok=True)
            folder.rename(root / new / folder.name)
    benchmark = open_benchmark("davis", 2017, "val", root)
    assert scored(benchmark, predictions(tmp_path / "p", TRUTH)).measures.J_mean == 1


def test_truth_at_full_resolution(tmp_path):
    large = {name: [m.repeat(3, 0).repeat(3, 1) for m in masks] for name, masks in TRUTH.items()}
    root = davis(tmp_path / "data", 2017, "val", TRUTH)
    predictions(root / "Annotations/480p", large)
    benchmark = open_benchmark("davis", 2017, "val", root)
    assert (benchmark.sequences[0].given(0) == TRUTH["a"][0]).all()
    masks = find_masks(predictions(tmp_path / "small", TRUTH), benchmark.sequences)
    assert score(benchmark, masks).measures.JF_mean == 1
    assert masks.notes == ("a, b: scored at the frames' size, 64×48, to which the larger truth is reduced",)
    masks = find_masks(predictions(tmp_path / "large", large), benchmark.sequences)
    assert score(benchmark, masks).measures.JF_mean == 1 and masks.notes == ()
    require_sound(benchmark.sequences)
    predictions(root / "Annotations/480p", {"b": [m[:20] for m in TRUTH["b"]]})
    (root / "JPEGImages/480p/a/00002.jpg").write_bytes(b"?")
    with pytest.raises(InputError) as caught:
        require_sound(benchmark.sequences)
    assert "00000.png: is 64×20, but its frame 64×48" in str(caught.value) and "00002.jpg: cannot" in str(caught.value)
    with pytest.raises(InputError, match=r"b/00000\.png: is 64×20, but its frame 64×48"):
        benchmark.sequences[1].labels(0)


def test_a_zip_of_windows_is_read_but_the_server_would_not(benchmark, tmp_path):
    folder = predictions(tmp_path / "p", TRUTH)
    with ZipFile(tmp_path / "w.zip", "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.writestr("method\\" + str(file.relative_to(folder)).replace("/", "\\"), file.read_bytes())
    masks = find_masks(tmp_path / "w.zip", benchmark.sequences)
    assert score(benchmark, masks).measures.J_mean == score(benchmark, masks, jobs=2).measures.J_mean == 1
    with pytest.raises(InputError, match=r"names are separated by \\ as on Windows"):
        submission.check(tmp_path / "w.zip", benchmark)


def test_masks_that_davis_does_not_score_may_be_missing(benchmark, tmp_path):
    folder = predictions(tmp_path / "p", TRUTH)
    for name in ("a/00000", "a/00004", "b/00004"):
        (folder / f"{name}.png").unlink()
    masks = find_masks(folder, benchmark.sequences)
    assert score(benchmark, masks).measures.JF_mean == 1
    assert masks.notes == ("a, b: the first or last mask is missing, which DAVIS does not score",)
    with pytest.raises(InputError, match=r"masks are missing: a/00000.png, a/00004.png, b/00004.png"):
        submission.write(tmp_path / "s.zip", benchmark, folder)


def test_suffixes_in_upper_case(benchmark, tmp_path):
    folder = predictions(tmp_path / "p", TRUTH)
    for file in sorted(folder.rglob("*.png")):
        file.rename(file.with_suffix(".PNG"))
    assert scored(benchmark, folder).measures.J_mean == 1
    submission.write(tmp_path / "s.zip", benchmark, folder)
    assert "a/00000.png" in ZipFile(tmp_path / "s.zip").namelist()


def test_soft_predictions_are_cut_at_half(tmp_path):
    benchmark = open_benchmark("davis", 2016, "val", davis(tmp_path / "data", 2016, "val", {"b": TRUTH["b"]}))
    for t, labels in enumerate(TRUTH["b"]):
        large = cv2.resize(labels * np.float32(255), None, fx=8, fy=8)
        soft = cv2.resize(cv2.GaussianBlur(large, (0, 0), 9), labels.shape[::-1], interpolation=cv2.INTER_AREA)
        (tmp_path / "p/b").mkdir(parents=True, exist_ok=True)
        Image.fromarray(soft.round().astype(np.uint8)).save(tmp_path / f"p/b/{t:05d}.png")
    masks = find_masks(tmp_path / "p", benchmark.sequences)
    assert score(benchmark, masks).measures.J_mean > 0.93 and "cut at level 128" in masks.notes[0]


def test_palettes_in_another_order_and_swapped_colours(benchmark, tmp_path):
    for t in range(5):
        for name in "ab":
            picture = PALETTE[TRUTH[name][t]]
            for kind, image in (
                ("order", Image.fromarray(picture).convert("P")),
                ("swap", Image.fromarray(picture[..., ::-1].copy())),
            ):
                (tmp_path / kind / name).mkdir(parents=True, exist_ok=True)
                image.save(tmp_path / kind / name / f"{t:05d}.png")
    assert scored(benchmark, tmp_path / "order").measures.J_mean == 1
    notes = find_masks(tmp_path / "swap", benchmark.sequences).notes
    assert notes == ("a, b: red and blue seem to be swapped: its ids would be those of the truth otherwise",)


def test_davis_2016_counts_all_ids_as_one(tmp_path):
    davis(tmp_path / "data", 2016, "val", {"a": TRUTH["a"]})
    other_ids = {"a": [(m > 0) * np.uint8(7) for m in TRUTH["a"]]}
    found = scored(open_benchmark("davis", None, "val", tmp_path / "data"), predictions(tmp_path / "p", other_ids))
    assert found.sequences["a"].objects == {1: ObjectScores([1] * 3, [1] * 3)}


@pytest.fixture
def youtube(tmp_path):
    """Object 2 enters in the third frame; its category is not one of the training set."""
    masks = [squares(t, *([1] if t < 2 else [1, 2])) for t in range(5)]
    youtube_vos(tmp_path / "YouTubeVOS", "train", {"t": masks}, {"t": {1: "dog", 2: "cat"}})
    kinds = {"v": {1: "dog", 2: "snail"}}
    only_new = [masks[0], None, np.where(masks[2] == 2, masks[2], 0), None, None]
    youtube_vos(tmp_path / "YouTubeVOS", "valid", {"v": only_new}, kinds)
    youtube_vos(tmp_path / "YouTubeVOS", "test", {"v": masks}, kinds)
    return tmp_path, masks


def test_youtube_vos_scores_late_objects_and_unseen_categories(youtube):
    tmp_path, masks = youtube
    benchmark = open_benchmark("youtube-vos", 2019, "test", tmp_path)
    wrong = [np.where(m == 2, 0, m) for m in masks]
    found = scored(benchmark, predictions(tmp_path / "p", {"v": wrong}, step=5))
    assert found.sequences["v"].objects == {1: ObjectScores([1] * 4, [1] * 4), 2: ObjectScores([0] * 2, [0] * 2)}
    about = found.to_dict()["global"]
    assert (about["J_seen"], about["J_unseen"], about["G"]) == (1, 0, 0.5)


def test_youtube_vos_valid_has_no_truth_but_late_masks_to_give(youtube):
    tmp_path, masks = youtube
    benchmark = open_benchmark("youtube-vos", None, "val", tmp_path)
    [sequence] = benchmark.sequences
    assert not benchmark.has_truth and open_benchmark("youtube-vos", None, "train", tmp_path).has_truth
    assert [sequence.given(t) is not None for t in range(5)] == [True, False, True, False, False]
    assert sequence.given(2, known=[2]) is None
    folder = predictions(tmp_path / "p", {"v": masks}, step=5)
    submission.write(tmp_path / "s.zip", benchmark, folder)
    submission.check(tmp_path / "s.zip", benchmark)
    assert ZipFile(tmp_path / "s.zip").namelist()[0] == "Annotations/v/00000.png"
    with pytest.raises(InputError, match="the sequences lie in its root, not in Annotations/"):
        submission.check(zipped(tmp_path / "flat.zip", folder), benchmark)


def test_a_submission_is_checked_and_then_written(secret, tmp_path):
    assert not secret.has_truth
    folder = predictions(tmp_path / "p", TRUTH)
    submission.write(tmp_path / "s.zip", secret, zipped(tmp_path / "wrapped.zip", folder, "method/"), jobs=2)
    submission.check(tmp_path / "s.zip", secret)
    assert sorted(ZipFile(tmp_path / "s.zip").namelist()) == [f"{s}/{t:05d}.png" for s in "ab" for t in range(5)]


def spoil_number(folder):
    predictions(folder, {"b": [np.where(m == 1, 3, m) for m in TRUTH["b"]]})


def spoil_void(folder):
    predictions(folder, {"b": [np.where(m == 1, 255, m) for m in TRUTH["b"]]})


def spoil_size(folder):
    predictions(folder, {"b": [m[:-8] for m in TRUTH["b"]]})


def spoil_mode(folder):
    Image.fromarray(TRUTH["b"][3]).save(folder / "b" / "00003.png")


def spoil_file(folder):
    (folder / "b" / "00003.png").write_bytes(b"?")


def spoil_order(folder):
    Image.fromarray(PALETTE[TRUTH["b"][3]]).quantize(kmeans=1).save(folder / "b" / "00003.png")


def spoil_frames(folder):
    (folder / "b" / "00003.png").unlink()


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (spoil_number, r"id 3 above 1 \(b/00000.png and 4 more\)"),
        (spoil_void, r"id 255 above 1 \(b/00000.png and 4 more\)"),
        (spoil_size, r"64×40 instead of 64×48 \(b/00000.png and 4 more\)"),
        (spoil_mode, r"PNG of mode L instead of an index PNG \(b/00003.png\)"),
        (spoil_order, r"palette in another order, of which the server reads the indices \(b/00003.png\)"),
        (spoil_file, r"unreadable \(b/00003.png\)"),
        (spoil_frames, r"b/00003.png"),
    ],
)
def test_what_the_server_would_refuse_is_named_and_not_written(secret, tmp_path, spoil, problem):
    folder = predictions(tmp_path / "p", TRUTH)
    spoil(folder)
    with pytest.raises(InputError, match=rf"p.zip: the server would refuse it: {problem}"):
        submission.check(zipped(tmp_path / "p.zip", folder), secret)
    with pytest.raises(InputError, match=problem):
        submission.write(tmp_path / "s.zip", secret, folder)
    assert not list(tmp_path.glob("*s.zip")) and not list(tmp_path.glob(".*"))


def test_nested_submissions_are_refused(secret, tmp_path):
    folder = predictions(tmp_path / "p", TRUTH)
    with pytest.raises(InputError, match="the sequences lie in method/, not in its root"):
        submission.check(zipped(tmp_path / "p.zip", folder, "method/"), secret)
    with pytest.raises(InputError, match="no such zip"):
        submission.check(tmp_path / "gone.zip", secret)


def of(*js):
    return ObjectScores(list(js), list(js))


def dataset(**sequences):
    return DatasetScores("davis", 2016, "val", {n: SequenceScores({1: scores}) for n, scores in sequences.items()})


def test_json_and_csv_hold_the_scores(tmp_path):
    scores = dataset(a=of(0.25, 0.75), b=of(1.0))
    score_files.write_json(tmp_path / "s.json", scores)
    assert score_files.read_json(tmp_path / "s.json") == scores
    score_files.write_csv(tmp_path / "s.csv", scores)
    rows = [line.split(",")[:4] for line in (tmp_path / "s.csv").read_text().splitlines()]
    assert rows[:3] == [
        ["sequence", "object", "J_mean", "J_recall"],
        ["global", "", "0.75", "0.75"],
        ["a", "", "0.5", "0.5"],
    ]
    assert rows[3:] == [["a", "1", "0.5", "0.5"], ["b", "", "1.0", "1.0"], ["b", "1", "1.0", "1.0"]]
    (tmp_path / "x.json").write_text('{"dataset": "davis"}')
    with pytest.raises(InputError, match=r"x.json: cannot be read as scores \(KeyError\('sequences'\)\)"):
        score_files.read_json(tmp_path / "x.json")
    with pytest.raises(OutputError, match=r"already there: .*s.json, .*s.csv; "):
        score_files.refuse_to_overwrite([tmp_path / "s.json", tmp_path / "new", tmp_path / "s.csv"])


def test_compare_takes_the_common_sequences(tmp_path):
    one, other = dataset(a=of(0.5), b=of(1.0), c=of(0.0)), dataset(b=of(0.5), a=of(0.75))
    rows = {name: (x.J_mean, y.J_mean) for name, x, y in score_files.compare(one, other)}
    assert rows == {"a": (0.5, 0.75), "b": (1.0, 0.5), "global": (0.75, 0.625)}
    with pytest.raises(InputError, match="no sequence in common"):
        list(score_files.compare(one, dataset(z=of(1.0))))


def test_telling_moments_are_the_best_and_worst_of_either_half(benchmark):
    scores = SequenceScores({1: of(0.9, 0.3, 0.5), 2: of(0.7, 0.5, 0.7)})
    found = moments(benchmark.sequences[0], scores)  # means 0.8, 0.4 of frames 1, 2; then 0.6 of frame 3
    assert found == {1: "best, J 0.80", 2: "worst, J 0.40", 3: "best, J 0.60"}
