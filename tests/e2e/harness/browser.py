"""A real browser without a screen: Chromium, spoken to over a pair of pipes (its DevTools protocol)."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import zlib

from harness.waits import LONG, Deadline, wait_until


def is_there():
    return shutil.which("chromium") is not None


class Browser:
    """One page in one browser. `requests` has the address of all that it asked for, `complaints`
    what its scripts did wrong."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="warren-e2e-chromium-")
        to_read, self.to = os.pipe()
        self.back, back_write = os.pipe()

        def pipes():  # the protocol's numbers; the copies survive the exec
            a, b = os.dup(to_read), os.dup(back_write)
            os.dup2(a, 3)
            os.dup2(b, 4)
        self.popen = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
             "--disable-background-networking", "--remote-debugging-pipe",
             "--user-data-dir=" + self.folder, "about:blank"],
            preexec_fn=pipes, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(to_read)
        os.close(back_write)
        self.buffer, self.last, self.session = b"", 0, None
        self.requests, self.complaints = [], []
        pages = lambda: [t for t in self.call("Target.getTargets")["targetInfos"]
                         if t["type"] == "page"]
        page = wait_until(lambda: pages() and pages()[0], "a page", LONG)
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"],
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(domain + ".enable")

    def close(self):
        os.close(self.to)
        os.close(self.back)
        os.killpg(self.popen.pid, 9)
        self.popen.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- the protocol: JSON, each message ended by a NUL ----------------------------------------

    def call(self, method, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        deadline = Deadline(LONG)
        while True:
            answer = self.next(deadline)
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise AssertionError("%s: %s" % (method, answer["error"]))
                return answer["result"]
            self.note(answer)

    def next(self, deadline):
        while b"\0" not in self.buffer:
            if not select.select([self.back], [], [], max(deadline.left(), 0.001))[0]:
                raise AssertionError("the browser does not answer")
            chunk = os.read(self.back, 1 << 20)
            if not chunk:
                raise AssertionError("the browser has ended")
            self.buffer += chunk
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def note(self, event):
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(event["params"]["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(event["params"]["exceptionDetails"])

    # -- looking --------------------------------------------------------------------------------

    def size(self, width, height, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)

    def open(self, url):
        self.call("Page.navigate", url=url)

    def value(self, script):
        """None while one page goes and the next comes, too."""
        try:
            result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        except AssertionError as e:
            if "ontext" not in str(e) and "navigated" not in str(e):
                raise
            return None
        return result["result"].get("value")

    def text(self):
        return self.value("document.body ? document.body.innerText : ''") or ""

    def wait_text(self, *words):
        """Until the page shows all of them."""
        missing = lambda: [w for w in words if w not in self.text()]
        wait_until(lambda: not missing(), "a page with %s" % ", ".join(words), LONG)
        return self.text()

    def fits(self):
        """Whether nothing but what scrolls by itself is wider than the screen."""
        return self.value("document.documentElement.scrollWidth <= innerWidth")

    def screenshot(self, path):
        """As PNG; how many different colours it has."""
        import base64
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        with open(path, "wb") as f:
            f.write(png)
        return colours(png)


def colours(png):
    """How many different octet triples the unfiltered lines of a PNG have, at least: one that shows
    nothing has two."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data = 8, b""
    while at < len(png):
        size, kind = int.from_bytes(png[at:at + 4], "big"), png[at + 4:at + 8]
        if kind == b"IDAT":
            data += png[at + 8:at + 8 + size]
        at += size + 12
    octets = zlib.decompress(data)
    return len({octets[i:i + 3] for i in range(0, len(octets) - 3, 3)})
