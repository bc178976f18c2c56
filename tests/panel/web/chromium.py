"""Debian's Chromium, driven by Playwright, and what it shows: codes are read from its screen."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Locator, sync_playwright

from tests.scanned import scanned

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
# Without the windows and menus of the whole browser, it opens a page in two thirds of the time.
CHROMIUM = shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
DOTS = """async image => {
    await image.decode();
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), drawing = canvas.getContext("2d");
    drawing.fillStyle = getComputedStyle(image).backgroundColor;
    drawing.fillRect(0, 0, canvas.width, canvas.height);
    drawing.drawImage(image, 0, 0);
    const data = drawing.getImageData(0, 0, canvas.width, canvas.height).data;
    return Array.from({length: canvas.height}, (_, row) =>
        Array.from({length: canvas.width}, (_, column) => data[4 * (row * canvas.width + column)]));
}"""  # the red of each dot of an image, on the color that the page gives it


@contextmanager
def launched(*more: str) -> Iterator[Browser]:
    """Give a browser, with some flags more; it takes seconds to start."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *more])
        try:
            yield browser
        finally:
            browser.close()


def code_in(image: Locator) -> str:
    """Return what an image says as a QR code."""
    return scanned(image.evaluate(DOTS))
