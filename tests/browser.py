"""A headless Chromium that fails a test for whatever a page does besides showing itself."""

import os
import shutil
from contextlib import contextmanager

import pytest

VARIABLE = "IMPLICIT_WMF_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def find_chromium():
    """The program, or a skipped test; one that is named by the variable is taken at its word."""
    named = os.environ.get(VARIABLE)
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is on the PATH, and {VARIABLE} is not set")
    return found


@contextmanager
def started():
    """A running browser of playwright's."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = find_chromium()
    with playwright.sync_playwright() as driver:
        options = {"args": ["--no-sandbox"]} if getattr(os, "geteuid", lambda: 1)() == 0 else {}
        browser = driver.chromium.launch(executable_path=program, **options)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser, address, **context):
    """A page, which in the end must have asked for nothing but itself, and complained of nothing."""
    met = []
    window = browser.new_context(**context)
    try:
        page = window.new_page()
        page.set_default_timeout(20_000)
        page.on("dialog", lambda dialog: (met.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda message: met.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: met.append(f"error: {error}"))
        page.on("request", lambda one: one.url.startswith(("file:", "data:")) or met.append(f"request: {one.url}"))
        page.goto(address)
        yield page
        assert met == []
    finally:
        window.close()
