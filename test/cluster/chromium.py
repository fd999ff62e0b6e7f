"""Headless Chromium, driven by its own protocol through a pipe.

The pipe is inherited, so that the browser can be in another network than the test and
listens to nobody; neither a driver nor a library is needed.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = "chromium-headless-shell"
PACKAGES = (
    "%s=%s" % (PROGRAM, PROGRAM),
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf=fonts-dejavu-core",
)
#: Seconds for an answer of the browser's, and for a condition on a page.
PATIENCE = 60.0

# Tests are root's; Chromium's sandbox then refuses to start.
_OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    "--remote-debugging-pipe",
)


class BrowserError(AssertionError):
    """The browser does not answer, or the page is not as awaited."""


class Browser:
    """A browser with one page; a context manager.

    `prefix` is what starts the browser elsewhere, as `nsenter --net=… --`.
    """

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        self._prefix = list(prefix)
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._session = ""
        self.errors: list[str] = []

    def __enter__(self) -> Browser:
        self._home = tempfile.mkdtemp(prefix="chromium-")
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()

        def arrange() -> None:
            # Chromium reads what it is told from 3 and answers on 4.
            first, second = os.dup(to_browser), os.dup(from_browser)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            [*self._prefix, PROGRAM, *_OPTIONS, "--user-data-dir=" + self._home, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=arrange,
            close_fds=False,
            env={**os.environ, "HOME": self._home},
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._to)
        os.close(self._from)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    # the protocol

    def call(self, method: str, **params: Any) -> Any:
        """Tell the browser to do something and return its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            said = self._read(end)
            if said.get("id") == number:
                if "error" in said:
                    raise BrowserError("%s: %s" % (method, said["error"]["message"]))
                return said["result"]
            self._note(said)

    def _read(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            got = os.read(self._from, 1 << 20) if ready else b""
            if not got:
                raise BrowserError("the browser does not answer")
            self._buffer += got
        message, self._buffer = self._buffer.split(b"\0", 1)
        said: dict[str, Any] = json.loads(message)
        return said

    def _note(self, said: dict[str, Any]) -> None:
        """Keep what the browser complains about: scripts, the page's policy, lost files."""
        if said.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(said["params"]["exceptionDetails"]))
        elif said.get("method") == "Log.entryAdded":
            entry = said["params"]["entry"]
            if entry["level"] == "error":
                self.errors.append("%s %s" % (entry["text"], entry.get("url", "")))

    # what a person does

    def open(self, url: str) -> None:
        """Go to a page and wait until it is there."""
        self.script("window.leaving = true")
        self.call("Page.navigate", url=url)
        self._arrived()

    def navigate(self, url: str, text: str) -> None:
        """Go to a page without its scripts, and wait for a text on it."""
        self.call("Page.navigate", url=url)
        self.wait_text(text)

    def wait_text(self, text: str, seconds: float = PATIENCE) -> None:
        """Wait until a person can read it."""
        self.until("document.body.innerText.includes(%s)" % json.dumps(text), text, seconds)

    def _arrived(self) -> None:
        self.until("!window.leaving && document.readyState === 'complete'", "the page is there")

    def script(self, text: str) -> Any:
        """The value of an expression in the page."""
        said = self.call("Runtime.evaluate", expression=text, returnByValue=True)
        if "exceptionDetails" in said:
            raise BrowserError("%s: %s" % (text, said["exceptionDetails"]))
        return said["result"].get("value")

    def until(self, condition: str, what: str, seconds: float = PATIENCE) -> None:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + seconds
        while True:
            try:
                if self.script("Boolean(%s)" % condition):
                    return
            except BrowserError:
                pass  # between two pages
            if time.monotonic() > end:
                raise BrowserError("never: %s; the page says: %s" % (what, self.text()))
            time.sleep(0.1)

    def text(self, selector: str = "body") -> str:
        """What a person reads there."""
        found = self.script("document.querySelector(%s)?.innerText" % json.dumps(selector))
        return str(found or "")

    def click(self, selector: str, *, leaves: bool = False) -> None:
        """Press the mouse on the first thing that fits, as it is seen; `leaves` the page."""
        if leaves:
            self.script("window.leaving = true")
        box = self.script(
            "(() => { const e = document.querySelector(%s); e.scrollIntoView({block: 'center'});"
            " const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()" % json.dumps(selector)
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                **{"type": kind, "x": box[0], "y": box[1], "button": "left", "clickCount": 1},
            )
        if leaves:
            self._arrived()

    def type(self, text: str) -> None:
        """Type where the focus is."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, *, leaves: bool = False) -> None:
        """Press Tab, Enter or the space bar."""
        if leaves:
            self.script("window.leaving = true")
        code, text = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " ")}[key]
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                **{
                    "type": kind,
                    "key": key,
                    "code": "Space" if key == " " else key,
                    "windowsVirtualKeyCode": code,
                    "text": text if kind == "keyDown" else "",
                },
            )
        if leaves:
            self._arrived()

    # what it looks like

    def look(self, *, width: int = 1200, dark: bool = False, scripts: bool = True) -> None:
        """The window's width, the person's taste, and whether scripts run."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        said = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(said["data"]))

    def tree(self) -> list[dict[str, Any]]:
        """What a screen reader is told: role, name of each thing that it does not skip."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            {
                "role": node.get("role", {}).get("value", ""),
                "name": node.get("name", {}).get("value", ""),
            }
            for node in nodes
            if not node.get("ignored")
        ]
