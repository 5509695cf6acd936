"""browser.py - a headless Chromium, through the DevTools protocol on a pipe: no library, no port.

    with Browser() as browser:
        page = browser.page(width=390, height=844, dark=True)
        page.go("http://127.0.0.1:8432/")
        page.wait("document.querySelector('#hero time')")
        page.value("document.title")
        page.key("Tab")
        page.picture("out.png")
        page.said          # console messages, exceptions and violations of the policy
        page.asked         # every URL that was asked for
"""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time


class Browser:
    def __init__(self, program=None):
        program = program or next((p for p in ("chromium", "chromium-browser", "google-chrome") if shutil.which(p)), None)
        if not program:
            raise FileNotFoundError("no chromium")
        self.home = tempfile.mkdtemp(prefix="chromium.")
        to_read, self.to = os.pipe()
        self.back, from_write = os.pipe()

        def descriptors():
            # It reads 3 and writes 4; first out of the way of each other.
            a, b = os.dup(to_read), os.dup(from_write)
            os.dup2(a, 3)
            os.dup2(b, 4)

        # A test runs as somebody without rights to make namespaces, so without the sandbox; it sees our own page only.
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
             "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en",
             "--remote-debugging-pipe", f"--user-data-dir={self.home}", "about:blank"],
            preexec_fn=descriptors, pass_fds=(3, 4), close_fds=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, "HOME": self.home, "XDG_RUNTIME_DIR": self.home})
        os.close(to_read)
        os.close(from_write)
        self.number, self.rest, self.pages = 0, b"", {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close", timeout=5)
        except (OSError, TimeoutError, RuntimeError):
            pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def pump(self, until):
        """Read what is there before a moment; the messages are taken one by one."""
        while b"\0" not in self.rest:
            if not select.select([self.back], [], [], max(0, until - time.time()))[0]:
                return None
            got = os.read(self.back, 1 << 20)
            if not got:
                raise OSError("chromium has ended")
            self.rest += got
        one, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(one)
        page = self.pages.get(message.get("sessionId"))
        if "method" in message and page:
            page.hear(message["method"], message["params"])
        return message

    def call(self, method, params=None, session=None, timeout=30):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data):]
        until = time.time() + timeout
        while (answer := self.pump(until)) is not None:
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
        raise TimeoutError(method)

    def page(self, **how):
        return Page(self, **how)


class Page:
    def __init__(self, browser, width=1280, height=900, dark=False, reduced=False, zone="Europe/Berlin"):
        self.browser, self.said, self.asked = browser, [], []
        target = browser.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = browser.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        browser.pages[self.session] = self
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
        self.call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
                                                              {"name": "prefers-reduced-motion", "value": "reduce" if reduced else "no-preference"}]})
        self.call("Emulation.setTimezoneOverride", {"timezoneId": zone})

    def call(self, method, params=None, timeout=30):
        return self.browser.call(method, params, self.session, timeout)

    def hear(self, method, params):
        if method == "Runtime.consoleAPICalled":
            self.said.append(f"console.{params['type']}: {[a.get('value', a.get('description')) for a in params['args']]}")
        elif method == "Runtime.exceptionThrown":
            self.said.append(f"exception: {params['exceptionDetails'].get('exception', {}).get('description', params['exceptionDetails']['text'])}")
        elif method == "Log.entryAdded":
            self.said.append(f"log: {params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Audits.issueAdded":
            self.said.append(f"issue: {params['issue']['code']}")
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])

    def go(self, url):
        self.call("Page.navigate", {"url": url})

    def value(self, expression):
        got = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in got:
            raise RuntimeError(got["exceptionDetails"].get("exception", {}).get("description", str(got)))
        return got["result"].get("value")

    def wait(self, expression, seconds=20):
        until = time.time() + seconds
        while time.time() < until:
            try:
                if self.value(f"Boolean({expression})"):
                    return True
            except RuntimeError:
                pass  # not yet: the page is on its way
            time.sleep(0.1)
        return False

    def listen(self, seconds):
        """Let the page live for a while."""
        until = time.time() + seconds
        while time.time() < until:
            self.browser.pump(until)

    def key(self, name):
        codes = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37}
        more = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", {"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": codes[name], **(more if kind == "keyDown" else {})})

    def offline(self, is_offline):
        self.call("Network.emulateNetworkConditions", {"offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})

    def picture(self, path, whole=True, height=None):
        clip = {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], height or 99999), "scale": 1}}
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", {"format": "png", **clip})["data"]))
