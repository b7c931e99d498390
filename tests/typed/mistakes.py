"""What a user gets wrong, each line with the error that mypy is to find in it."""

import numpy as np

from implicit_wmf import (
    WMF,
    Interactions,
    ItemKNN,
    WMFConfig,
)
from implicit_wmf.evaluation import evaluate
from implicit_wmf.factorizers import ObservedMF
from implicit_wmf.tuning import tune

data = Interactions.from_matrix(np.eye(3))
model = WMF(factors="8")  # error: arg-type
WMF(8, 0.1)  # error: call-arg
WMF(alfa=2.0)  # error: call-arg
WMF(regularization=None)  # error: arg-type
WMFConfig(iterations="many")  # error: arg-type
Interactions.from_frame({}, user="who")  # error: call-arg
model.fit(data, patience="three")  # error: arg-type
model.fit(data, valid=data)  # error: call-arg
model.fit(data, callback="stop")  # error: arg-type
model.recommend(0, N="10")  # error: arg-type
model.recommend(object())  # error: arg-type
ids, scores, more = model.recommend(0)  # error: misc
model.recommend_frame(unknown=None)  # error: arg-type
model.user_factors = np.eye(3)  # error: misc
model.save()  # error: call-arg
model.load(3)  # error: arg-type
model.partial_fit(data, iterations=None)  # error: arg-type
ItemKNN().fit(data).save("model")  # error: attr-defined
ObservedMF().fit(data).fold_in_users(data)  # error: attr-defined
evaluate("model", data, data)  # error: arg-type
tune(data, data, trials="40")  # error: arg-type
