"""The shop data that ships with the package."""

from __future__ import annotations

from importlib.resources import files
from io import BytesIO

import numpy as np
import pandas as pd


def load_online_retail() -> pd.DataFrame:
    """Return two years of purchases at a UK gift shop: UCI Online Retail II, known returns taken off.

    Daqing Chen, "Online Retail II", UCI Machine Learning Repository, https://doi.org/10.24432/C5CG6D, licensed under
    CC BY 4.0. It was changed for this package: `online_retail.LICENSE.md` beside this file says how. Returns are known,
    and taken off, for the first year only (2009-12 to 2010-11).

    Returns
    -------
    pandas.DataFrame
        One row a purchased line, ordered by the time of its invoice, with a fresh range index and the columns

        * ``customer``: int64, the customer's number;
        * ``product``: str, the product's code, such as ``"85123A"``;
        * ``name``: str, the product's name, the same in every row of a product;
        * ``quantity``: int64, the pieces bought and not returned, at least 1;
        * ``invoice``: int64, the invoice's number; a customer may buy one product in several lines of an invoice;
        * ``day``: datetime64[s], the day of the invoice, at midnight.

    Examples
    --------
    >>> from implicit_wmf.datasets import load_online_retail
    >>> purchases = load_online_retail()
    >>> list(purchases.columns)
    ['customer', 'product', 'name', 'quantity', 'invoice', 'day']
    >>> purchases.loc[0, "name"]
    '15CM CHRISTMAS GLASS BALL 20 LIGHTS'
    """
    packed = files("implicit_wmf.datasets").joinpath("online_retail.npz").read_bytes()
    with np.load(BytesIO(packed), allow_pickle=False) as tables:
        invoice = np.repeat(np.arange(len(tables["invoice_lines"])), tables["invoice_lines"])
        product = tables["line_product"]
        # Taken from a Series, because pandas then converts each of the few thousand strings once, not each row's.
        codes = pd.Series(tables["product_code"].astype(object))
        names = pd.Series(tables["product_name"].astype(object))
        return pd.DataFrame(
            {
                "customer": tables["invoice_customer"].astype(np.int64)[invoice],
                "product": codes.take(product).array,
                "name": names.take(product).array,
                "quantity": tables["line_quantity"].astype(np.int64),
                "invoice": tables["invoice_number"].astype(np.int64)[invoice],
                "day": tables["invoice_day"].astype("datetime64[s]")[invoice],
            }
        )
