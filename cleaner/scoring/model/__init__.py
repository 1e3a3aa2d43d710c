"""Score samples: the `Scorer` contract and the kinds of models that keep it."""
