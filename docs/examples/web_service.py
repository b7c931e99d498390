"""Recommendations over HTTP: MODEL=retail-model uvicorn web_service:app --workers 2."""

import logging
import os
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from scipy.sparse import csr_array

from implicit_wmf import WMF, InputError

FOLDER = Path(os.environ.get("MODEL", "model"))
N = Annotated[int, Query(ge=1, le=100)]
Basket = Annotated[dict[str, Annotated[float, Field(gt=0, le=1e6)]], Field(min_length=1, max_length=1000)]
Rows = list[dict[str, Any]]


class Shelf:
    """The newest model that can be read."""

    def __init__(self) -> None:
        self.reading, self.seen, self.model, self.problem = threading.Lock(), saved_at(), read(), ""

    def newest(self) -> WMF:
        """Return it; a thread that finds another in its place reads that one, the rest go on with the former."""
        there = saved_at()
        if there not in (None, self.seen) and self.reading.acquire(blocking=False):
            try:
                self.seen = there  # first, so that what cannot be read is not tried for every request
                self.model, self.problem = read(), ""
            except Exception as error:
                self.problem = str(error)
                logging.exception("the former model goes on serving")
            finally:
                self.reading.release()
        return self.model


def saved_at() -> int | None:
    """Tell when the folder was written; None in the moment in which one is put in the place of another."""
    try:
        return FOLDER.stat().st_mtime_ns
    except OSError:
        return None


def read() -> WMF:
    """Map the model's files, and ask what requests will ask, so that none of them waits for what that prepares."""
    model = WMF.load(FOLDER, mmap=True)
    model.recommend_frame(model.interactions.users[:1])
    model.similar_items_frame(model.interactions.items[:1])
    model.recommend(user_items=csr_array((1, len(model.item_factors))))
    return model


shelf, app = Shelf(), FastAPI()


@app.exception_handler(InputError)
def not_found(request: Request, error: InputError) -> JSONResponse:
    """Pass on the library's message, which names the unknown id."""
    return JSONResponse({"detail": str(error)}, status_code=404)


@app.get("/users/{user}")
def for_user(user: int, n: N = 10, unknown: Literal["error", "popular"] = "error") -> Rows:
    """Recommend to a customer; to one whom the model does not know nothing, or what most have bought."""
    return shelf.newest().recommend_frame([user], N=n, unknown=unknown).to_dict("records")


@app.post("/baskets")
def for_basket(basket: Basket, n: N = 10) -> Rows:
    """Recommend to somebody new who has so many of these products; those new to the model are left out."""
    model = shelf.newest()
    items = model.interactions.items
    known = {item: count for item, count in basket.items() if item in items}
    if not known:
        raise HTTPException(404, "the model knows none of these products")
    row = csr_array((list(known.values()), items.get_indexer(list(known)), [0, len(known)]), shape=(1, len(items)))
    ids, scores = model.recommend(user_items=row, N=n)
    return [{"item": items[i], "score": float(score)} for i, score in zip(ids[0], scores[0], strict=True) if i >= 0]


@app.get("/items/{item}/similar")
def similar(item: str, n: N = 10) -> Rows:
    """Find products that the same people buy."""
    return shelf.newest().similar_items_frame([item], N=n, include_self=False).to_dict("records")


@app.get("/health")
def health() -> dict[str, Any]:
    """Say what is served, and why a newer model is not."""
    model = shelf.newest()
    return {"users": len(model.user_factors), "items": len(model.item_factors), "problem": shelf.problem}
