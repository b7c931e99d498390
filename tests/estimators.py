"""The estimators there are: what all of them promise is tested of each."""

from implicit_wmf import WMF, ItemKNN, MostPopular
from implicit_wmf.factorizers import KLMF, ObservedMF, SymmetricMF

FACTORIZERS = [WMF, ObservedMF, KLMF, SymmetricMF]
ESTIMATORS = [*FACTORIZERS, ItemKNN, MostPopular]
