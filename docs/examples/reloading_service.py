"""The service that takes up each new model: MODEL=model uvicorn reloading_service:app --workers 2."""

import asyncio
import logging
import os
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter
from scipy.sparse import csr_array
from web_service import app

from implicit_wmf import WMF

FOLDER = Path(os.environ.get("MODEL", "model"))
PAUSE = float(os.environ.get("PAUSE", 1))  # seconds between two looks at the folder


def saved_at() -> int | None:
    """Tell when the folder was written; None in the moment in which one is put in the place of another."""
    try:
        return FOLDER.stat().st_mtime_ns
    except OSError:
        return None


def take_up() -> str:
    """Serve the model that is in the folder, or tell why not; the former serves until the new one is ready."""
    try:
        model = WMF.load(FOLDER, mmap=True)
        model.recommend(user_items=csr_array((1, len(model.item_factors))))
    except Exception as error:
        logging.exception("the former model goes on serving")
        return str(error)
    app.state.model = model
    return ""


async def watch() -> None:
    """Take up what is new, in a thread beside those that answer; what cannot be read is tried once."""
    while True:
        await asyncio.sleep(PAUSE)
        there = saved_at()
        if there not in (None, app.state.seen):
            app.state.seen = there
            app.state.problem = await asyncio.to_thread(take_up)


@asynccontextmanager
async def watching(app):
    """Watch in each process for as long as it serves."""
    task = asyncio.create_task(watch())
    yield
    task.cancel()


watcher = APIRouter(lifespan=watching)


@watcher.get("/newest")
def newest() -> dict[str, str]:
    """Say why the newest model is not served, or nothing."""
    return {"problem": app.state.problem}


app.state.seen, app.state.problem = None, ""
app.include_router(watcher)
