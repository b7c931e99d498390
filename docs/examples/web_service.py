"""Recommendations over HTTP: MODEL=model uvicorn web_service:app --workers 2."""

import os
from typing import Annotated, Literal

from fastapi import Body, FastAPI, Query, responses
from scipy.sparse import csr_array

from implicit_wmf import WMF, InputError

N = Annotated[int, Query(ge=1, le=100)]
app = FastAPI(exception_handlers={InputError: lambda _, error: responses.JSONResponse({"detail": str(error)}, 404)})
app.state.model = WMF.load(os.environ.get("MODEL", "model"), mmap=True)  # as each process starts; they share the pages
app.state.model.recommend(user_items=csr_array((1, len(app.state.model.item_factors))))  # now what is slow once


@app.get("/users/{user}")
def for_user(user: int, n: N = 10, unknown: Literal["error", "popular"] = "error"):
    """Recommend to a customer; to one whom the model does not know nothing, or what most have bought."""
    return app.state.model.recommend_frame([user], N=n, unknown=unknown).to_dict("records")


@app.post("/baskets")
def for_basket(basket: dict[str, Annotated[float, Body(gt=0, le=1e6)]], n: N = 10):
    """Recommend to somebody new who has so many of these products; those new to the model are left out."""
    model = app.state.model
    items = model.interactions.items
    known = {items.get_loc(item): count for item, count in basket.items() if item in items}
    if not known:
        raise InputError(f"the model knows none of the products {list(basket)[:5]}")
    row = csr_array((list(known.values()), list(known), [0, len(known)]), shape=(1, len(items)))
    ids, scores = model.recommend(user_items=row, N=n)
    return [{"item": items[i], "score": float(score)} for i, score in zip(ids[0], scores[0], strict=True) if i >= 0]


@app.get("/items/{item}/similar")
def similar(item: str, n: N = 10):
    """Find products that the same people buy."""
    return app.state.model.similar_items_frame([item], N=n, include_self=False).to_dict("records")


@app.get("/health")
def health():
    """Say how much is served."""
    return {"users": len(app.state.model.user_factors), "items": len(app.state.model.item_factors)}
