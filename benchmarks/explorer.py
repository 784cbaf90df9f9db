"""How quickly the peer explorer answers at 500 firms and 10,000 edges a date.

``python -m benchmarks.explorer`` makes such a network of six dates, opens its page in headless Chromium over a pipe
(no driver is needed, only ``chromium`` on the path), presses real mouse buttons and keys, and asks the page itself how
long it took until the picture stood. ``--rounds`` says how often the page is opened.

explorer_load_seconds : median over rounds from the start of the navigation until the first view is painted.
explorer_click_ms : median over clicks on firms, from the browser's receiving the click until what follows is painted.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finattn.errors import InputError
from finattn.networks import PeerNetwork
from finattn.report import explorer

FIRMS, PEERS, DATES, CLICKS = 500, 20, 6, 12
LOAD_BUDGET, CLICK_BUDGET = 2.0, 100.0
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
)  # fmt: skip
# From the browser's receiving an event to the frame after it: a message posted in a frame arrives once that is painted.
_WATCH = """
window.latencies = [];
for (const kind of ["click", "keydown"]) window.addEventListener(kind, (event) => requestAnimationFrame(() => {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => window.latencies.push(performance.now() - event.timeStamp);
  channel.port2.postMessage(0);
}), true);
"""
_PAINTED = """new Promise((done) => requestAnimationFrame(() => {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => done(performance.now());
  channel.port2.postMessage(0);
}))"""


def network(firms: int = FIRMS, peers: int = PEERS, dates: int = DATES, seed: int = 0) -> PeerNetwork:
    """Make a network in which half of the links stay within one of SIC's major groups."""
    random = np.random.default_rng(seed)
    names = np.array([f"F{place:03d}" for place in range(firms)])
    groups = random.choice([13, 20, 28, 35, 36, 37, 38, 48, 49, 50, 53, 56, 58, 60, 63, 67, 73, 80], firms)
    codes = 100 * groups + random.choice([11, 12, 34, 71], firms)
    popular = random.pareto(2.0, firms) + 0.2
    edges, nodes = [], []
    for day in pd.date_range("2015-12-31", periods=dates, freq="YE").strftime("%Y-%m-%d"):
        chance = random.exponential(size=(firms, firms)) * popular * np.where(groups == groups[:, None], 20, 1)
        np.fill_diagonal(chance, -1)
        asked = np.argsort(-chance, axis=1)[:, :peers]
        weight = np.take_along_axis(chance, asked, 1) ** 0.7
        weight = (0.6 * weight / weight.sum(1, keepdims=True)).ravel()
        half = 0.3 * weight * random.random(len(weight))
        edges.append(pd.DataFrame({
            "date": day, "firm": np.repeat(names, peers), "peer": names[asked.ravel()], "weight": weight,
            "lower": weight - half, "upper": weight + half, "share": np.round(random.random(len(weight)), 2),
        }))  # fmt: skip
        levels = {f"industry_{level}": codes // 10**level for level in range(3)}
        named = [f"Company {place}" for place in range(firms)]
        nodes.append(pd.DataFrame({"date": day, "firm": names, "name": named, "size": popular, **levels}))
    made = {
        "method": "attention",
        "interval": "given the fit",
        "level": 0.9,
        "run": "made up",
        "industry_scheme": "sic",
    }
    return PeerNetwork(pd.concat(edges, ignore_index=True), pd.concat(nodes, ignore_index=True), made)


# -- the browser ------------------------------------------------------------


class Browser:
    """A page in headless Chromium, spoken to over a pipe."""

    def __init__(self, outgoing: int, incoming: Any) -> None:
        """Open an empty page."""
        self.outgoing, self.incoming, self.number, self.session = outgoing, incoming, 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come in between are passed over."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": given}
        os.write(
            self.outgoing, json.dumps(message | ({"sessionId": self.session} if self.session else {})).encode() + b"\0"
        )
        while (answer := self.receive()).get("id") != self.number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        text = bytearray()
        while (sign := self.incoming.read(1)) != b"\0":
            if not sign:
                raise RuntimeError("the browser has gone")
            text += sign
        return json.loads(text)

    def size(self, width: int, height: int) -> None:
        """Set the size of the page."""
        given = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **given)

    def open(self, path: Path) -> None:
        """Open a page and wait until it is loaded."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        while self.receive().get("method") != "Page.loadEventFired":
            pass

    def ask(self, expression: str) -> Any:
        """Return what an expression of the page comes to."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"].get("exception", {}).get("description", "error in the page"))
        return found["result"].get("value")

    def click(self, x: float, y: float) -> None:
        """Press and release the mouse."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


@contextmanager
def browser() -> Iterator[Browser]:
    """Run Chromium with a profile of its own, and end it.

    Raises
    ------
    InputError
        Where there is none.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise InputError("the explorer is measured in chromium, found none on the path")
    ours, theirs = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # The browser reads commands from descriptor 3 and writes answers to 4.
        shell = f'exec "$0" "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        command = ["sh", "-c", shell, program, *FLAGS, f"--user-data-dir={profile}"]
        running = subprocess.Popen(command, pass_fds=(ours[0], theirs[1]), stderr=subprocess.DEVNULL)
        os.close(ours[0])
        os.close(theirs[1])
        try:
            with os.fdopen(theirs[0], "rb") as incoming:
                yield Browser(ours[1], incoming)
        finally:
            os.close(ours[1])
            running.terminate()
            running.wait()


# -- what is measured ------------------------------------------------------------


def measure(rounds: int = 5) -> dict[str, Any]:
    """Return the two figures and what they are made of."""
    with tempfile.TemporaryDirectory() as folder, browser() as page:
        path = explorer.write(network(), Path(folder) / explorer.FILE)
        page.size(1400, 900)
        loads = [_load(page, path) for _ in range(rounds + 1)][1:]  # the first round starts the browser's processes
        page.ask(_WATCH)
        firms, cells = _places(page, "ring"), _places(page, "map")
        clicks = _clicks(page, [*firms, *cells])
        page.ask("document.getElementById('ring').focus()")
        walks = _presses(page, "ring", "ArrowRight")
        dates = _presses(page, "date", "ArrowLeft", DATES - 1)
        page.ask("const l = document.getElementById('links'); l.value = l.max; l.dispatchEvent(new Event('input'))")
        everything = _presses(page, "date", "ArrowRight", DATES - 1)
    return {
        "explorer_load_seconds": round(statistics.median(loads) / 1000, 3),
        "explorer_click_ms": round(statistics.median(clicks), 1),
        "explorer_click_worst_ms": round(max(clicks), 1),
        "explorer_walk_ms": round(statistics.median(walks), 1),
        "explorer_date_ms": round(statistics.median(dates), 1),
        "explorer_date_all_links_ms": round(statistics.median(everything), 1),
        "loads_ms": [round(load) for load in loads],
        "clicks_ms": [round(click, 1) for click in clicks],
        "load_average": round(os.getloadavg()[0], 1),  # others at work on the machine slow everything here
        "firms": FIRMS,
        "edges_a_date": FIRMS * PEERS,
        "dates": DATES,
    }


def _load(page: Browser, path: Path) -> float:
    page.open(path)
    page.ask(_PAINTED)
    # The mark is set when all is drawn; what is painted with it is on the screen by the next frame.
    return page.ask(f"{_PAINTED}.then((now) => Math.max(now, performance.getEntriesByName('first-view')[0].startTime))")


def _places(page: Browser, key: str) -> list[tuple[float, float]]:
    """Return places of the ring, or of the heat map, to click at."""
    box = page.ask(f"(() => {{const b = document.getElementById('{key}').getBoundingClientRect();"
                   "return [b.left, b.top, b.width, b.height]})()")  # fmt: skip
    left, top, width, height = box
    if key == "map":
        return [(left + 20 + (width - 30) * at / CLICKS, top + height / 2) for at in range(CLICKS)]
    radius, turns = height / 2 - 56, np.linspace(0, 2 * np.pi, CLICKS, endpoint=False)
    return [(left + width / 2 + radius * np.cos(turn), top + height / 2 + radius * np.sin(turn)) for turn in turns]


def _clicks(page: Browser, places: list[tuple[float, float]]) -> list[float]:
    page.ask("window.latencies.length = 0")
    for place in places:
        page.click(*place)
        page.ask(f"{_PAINTED}.then(() => new Promise((done) => setTimeout(done, 20)))")
    return page.ask("window.latencies")


def _presses(page: Browser, key: str, pressed: str, times: int = CLICKS) -> list[float]:
    page.ask(f"document.getElementById('{key}').focus(); window.latencies.length = 0")
    for _ in range(times):
        page.press(pressed)
        page.ask(f"{_PAINTED}.then(() => new Promise((done) => setTimeout(done, 20)))")
    return page.ask("window.latencies")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="times that the page is opened")
    found = measure(parser.parse_args().rounds)
    print(f"explorer_load_seconds {found['explorer_load_seconds']:.2f}, at most {LOAD_BUDGET:g}")
    print(f"explorer_click_ms {found['explorer_click_ms']:.0f}, at most {CLICK_BUDGET:g}")
    for name, value in found.items():
        print(f"  {name}: {value}")


if __name__ == "__main__":
    main()
