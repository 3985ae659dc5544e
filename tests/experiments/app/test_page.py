"""The page in a real browser. The functions behind it have their own tests."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
MISSING = [
    name
    for name, there in {
        "Gradio": importlib.util.find_spec("gradio"),
        "Selenium": importlib.util.find_spec("selenium"),
        "Chromium": BROWSER,
        "chromedriver": DRIVER,
    }.items()
    if not there
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Return the first true result of a function."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def address(checkout) -> Iterator[str]:
    """The address of the page, served by the command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "tools/app.py", "--port", str(port)]
    variables = dict(PYTHONPATH=str(checkout), CUDA_VISIBLE_DEVICES="")
    server = subprocess.Popen(words, cwd=checkout, env={**os.environ, **variables})
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, "the command has ended"
        try:
            return urllib.request.urlopen(url).status == 200
        except urllib.error.URLError:
            return False

    try:
        until(answers, 120)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    folder = tmp_path_factory.mktemp("browser")
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1280,1000"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.folder = folder
    yield driver
    driver.quit()


def shown(browser: Any, css: str) -> Any:
    return until(lambda: browser.find_elements("css selector", css))[0]


def status(browser: Any) -> str:
    return shown(browser, "#status textarea").get_attribute("value")


def downloaded(browser: Any, element: str, name: str) -> Path:
    shown(browser, f"#{element}").click()
    return until(lambda: next(browser.folder.glob(name), None))


def upload(browser: Any, file: Path) -> None:
    shown(browser, "#file input[type=file]").send_keys(str(file))


def picture(browser: Any) -> str:
    return shown(browser, "#picture img").get_attribute("src")


def hosts_asked(browser: Any) -> set[str]:
    """The hosts of all requests of the page since the last call."""
    found = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = urllib.request.urlparse(message["params"]["request"]["url"])
            if url.scheme not in ("data", "blob", "chrome"):
                found.add(url.hostname)
    return found


def test_a_solver_from_photograph_to_files(browser, address, tmp_path):
    y, x = np.mgrid[:90, :120]
    disc = np.hypot(x - 60, y - 40) < 25
    pixels = np.where(disc, 220, 40).astype(np.uint8)
    file = tmp_path / "a disc.png"
    Image.fromarray(pixels).save(file)
    browser.get(address)
    shown(browser, "#run")
    until(lambda: "pixels" in status(browser))
    upload(browser, file)
    until(lambda: "120 x 90" in status(browser))
    before = picture(browser)
    shown(browser, "#run").click()
    until(lambda: "the mask covers" in status(browser))
    assert picture(browser) != before
    mask = np.asarray(Image.open(downloaded(browser, "mask", "mask.png")))
    assert mask.shape == disc.shape
    found = mask > 0 if mask[40, 60] else mask == 0
    assert (found != disc).mean() < 0.01
    polygons = json.loads(downloaded(browser, "geojson", "contours.geojson").read_text())
    assert (polygons["width"], polygons["height"]) == (120, 90)
    assert polygons["features"][0]["geometry"]["coordinates"]
    last = picture(browser)
    from selenium.webdriver import Keys

    slider = shown(browser, "#step input[type=range]")
    slider.send_keys(Keys.HOME)
    until(lambda: picture(browser) != last)
    assert "iteration 0" in shown(browser, "#step").text
    assert hosts_asked(browser) == {"127.0.0.1"}
    severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not severe


def test_a_model(browser, address):
    pytest.importorskip("skimage")
    browser.get(address)
    until(lambda: "pixels" in status(browser))
    choose(browser, "sample", "astronaut")
    until(lambda: "512 x 512" in status(browser))
    choose(browser, "method", "mask-rcnn_refined_lite0_pennfudan")
    shown(browser, "#run").click()
    until(lambda: "the mask covers" in status(browser), 120)


def test_hostile_files_give_a_sentence(browser, address, tmp_path):
    browser.get(address)
    until(lambda: "pixels" in status(browser))
    file = tmp_path / "no image.png"
    file.write_text("<b>text</b>")
    upload(browser, file)
    until(lambda: "no image that can be read" in status(browser))


def test_a_name_that_leads_out_of_the_folder(address):
    name = "../../../../tmp/evil.png"
    body = (
        f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        "Content-Type: image/png\r\n\r\nhello\r\n--x--\r\n"
    )
    request = urllib.request.Request(
        f"{address}/gradio_api/upload",
        body.encode(),
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    (path,) = json.load(urllib.request.urlopen(request))
    assert ".." not in path and "mmlevelset-app-" in path and Path(path).read_text() == "hello"


def test_a_port_that_is_taken(address, checkout):
    port = address.rpartition(":")[2]
    words = [sys.executable, "tools/app.py", "--port", port]
    variables = dict(PYTHONPATH=str(checkout), CUDA_VISIBLE_DEVICES="")
    done = subprocess.run(
        words, cwd=checkout, env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"app.py: error: the page cannot be served at 127.0.0.1, port {port}")


def choose(browser: Any, element: str, value: str) -> None:
    from selenium.webdriver import Keys

    field = shown(browser, f"#{element} input")
    field.click()
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(value, Keys.ENTER)
