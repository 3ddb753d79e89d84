"""Who is let in, and what is served: frames and masks by number, and nothing else."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from stesa_cli.masks import read_mask
from stesa_cli.studio.guard import Guard
from stesa_cli.studio.server import Studio

from ..clips import number_of

HOME, TOKEN = "http://127.0.0.1:5000", "secret"


@pytest.fixture
def studio(session):
    return Studio(session)


@pytest.fixture
def client(studio):
    with TestClient(Guard(studio.app, TOKEN, {"127.0.0.1:5000"}), base_url=HOME, headers={"origin": HOME}) as client:
        yield client


@pytest.fixture
def events(client):
    """The seat of the one tab, in the headers of the client."""
    with client.websocket_connect(f"/{TOKEN}/events", headers={"host": "127.0.0.1:5000"}) as socket:
        client.headers["x-seat"] = json.loads(socket.receive_text())["seat"]
        yield socket


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/wrong/state", {}),
        ("/secre/state", {}),
        ("/state", {}),
        ("/secret/state", {"host": "evil.example"}),
        ("/secret/state", {"host": "evil.example:5000", "origin": "http://evil.example:5000"}),
        ("/secret/state", {"origin": "http://evil.example"}),
        ("/secret/state", {"origin": "null"}),
        ("/secret/state", {"sec-fetch-site": "cross-site"}),
    ],
)
def test_strangers_are_refused(client, path, headers):
    assert client.get(f"/{TOKEN}/state").status_code == 200
    assert client.get(path, headers=headers).status_code == 403


def test_a_write_without_an_origin_is_refused(studio):
    with TestClient(Guard(studio.app, TOKEN, {"127.0.0.1:5000"}), base_url=HOME) as client:
        assert client.get(f"/{TOKEN}/state").status_code == 200
        assert client.post(f"/{TOKEN}/stop").status_code == 403


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}])
def test_a_strangers_socket_is_refused(client, headers):
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect(f"/{TOKEN}/events", headers=headers):
        pass
    assert refused.value.code == 4403


@pytest.mark.parametrize(
    "path", ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "frames/../../server.py", "/etc/passwd"]
)
def test_no_path_leads_to_other_files(client, path):
    answer = client.get(f"/{TOKEN}/{path}")
    assert answer.status_code in (403, 404) and "import" not in answer.text and "root:" not in answer.text


@pytest.mark.parametrize("path", ["frames/30", "masks/30", "frames/-1", "frames/x"])
def test_there_is_no_such_frame(client, path):
    assert client.get(f"/{TOKEN}/{path}").status_code == 404


def test_the_page_asks_nothing_of_other_sites(client):
    index = client.get(f"/{TOKEN}/")
    assert "default-src 'self'" in index.headers["content-security-policy"]
    names = re.findall(r'(?:src|href)="([^"]+)"', index.text)
    scripts = [client.get(f"/{TOKEN}/{name}") for name in names]
    assert "app.js" in names and all(each.status_code == 200 for each in scripts)
    assert not any("://" in name for name in names)


def test_frames_go_by_their_exact_number(client):
    for frame in (0, 29, 13, 12, 14):
        answer = client.get(f"/{TOKEN}/frames/{frame}")
        assert number_of(np.array(Image.open(io.BytesIO(answer.content)))) == frame


def test_masks_are_kept_as_they_are_given(client, events, session, labels):
    answer = client.put(f"/{TOKEN}/masks/7", content=labels.tobytes())
    assert answer.json() == {"prompts": [7], "fresh": 0}
    assert client.get(f"/{TOKEN}/masks/7").content == labels.tobytes()
    assert (read_mask(session.job.output / "prompts/00007.png") == labels).all()
    assert client.put(f"/{TOKEN}/masks/7", content=bytes(labels.size)).json() == {"prompts": [], "fresh": 0}
    assert not (session.job.output / "prompts/00007.png").exists()
    assert client.put(f"/{TOKEN}/masks/7", content=b"short").status_code == 400


def test_only_the_first_tab_may_write(client, events, labels):
    with client.websocket_connect(f"/{TOKEN}/events", headers={"host": "127.0.0.1:5000"}) as second:
        with pytest.raises(WebSocketDisconnect) as refused:
            second.receive_text()
        assert refused.value.code == 4409
    assert client.put(f"/{TOKEN}/masks/0", content=labels.tobytes(), headers={"x-seat": "x"}).status_code == 409
    assert client.put(f"/{TOKEN}/masks/0", content=labels.tobytes()).status_code == 200


def test_a_run_is_told_step_by_step_and_then_exported(client, events, session, labels):
    assert client.post(f"/{TOKEN}/propagate/forwards").text == "mark an object first"
    client.put(f"/{TOKEN}/masks/0", content=labels.tobytes())
    assert client.post(f"/{TOKEN}/propagate/forwards").status_code == 204
    heard = []
    while not heard or heard[-1]["kind"] != "ended":
        heard.append(json.loads(events.receive_text()))
    assert [event["frame"] for event in heard if event["kind"] == "frame"] == list(range(30))
    state = client.get(f"/{TOKEN}/state").json()
    assert state["fresh"] == len(state["seen"]) == 30 and state["seen"]["0"]["2"][0] == (labels == 2).sum()
    assert client.post(f"/{TOKEN}/export?save=masks,nothing").status_code == 400
    assert client.post(f"/{TOKEN}/export?save=masks").json()["frames"] == 30
    assert len(list((session.job.output / "masks").iterdir())) == 30
    assert "--mask 0=" in client.get(f"/{TOKEN}/command?save=masks").json()["command"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"marks": [{"points": [[1]], "plus": True}]},
        {"marks": [{"points": [], "plus": True}]},
        {"marks": [{"points": [["NaN", 1]], "plus": True}]},
        {"marks": [], "box": ["a", 1, 2, 3]},
        {"marks": [], "box": [1, 2, 3]},
        {"marks": [], "before": [5, 6]},
        {"marks": [], "before": [5, -6]},
        {"marks": 5},
    ],
)
def test_marks_and_boxes_that_are_none_are_refused(client, events, asked):
    assert client.post(f"/{TOKEN}/snap/0", json=asked).status_code == 400


def test_marks_correct_a_mask(client, events, labels):
    flat = (labels == 2).ravel().astype(int)
    runs = np.diff([0, *np.flatnonzero(np.diff(np.pad(flat, 1))), flat.size]).tolist()
    asked = {"marks": [{"points": [[60, 46], [62, 46]], "plus": True}], "before": runs, "corrects": True}
    found = np.frombuffer(client.post(f"/{TOKEN}/snap/0", json=asked).content, np.uint8).reshape(labels.shape)
    assert set(np.unique(found)) == {0, 1} and found[46, 60:63].all() and found[10, 10]


def test_only_a_mask(client, events, studio, session, labels, tmp_path):
    left = []
    studio.mask_of, studio.mask_path, studio.leave = 5, tmp_path / "mask.png", lambda: left.append(True)
    assert client.post(f"/{TOKEN}/finish").text == "mark an object first"
    client.put(f"/{TOKEN}/masks/5", content=labels.tobytes())
    assert client.post(f"/{TOKEN}/finish").status_code == 204
    assert left and (read_mask(tmp_path / "mask.png") == labels).all()
