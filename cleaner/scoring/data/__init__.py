"""Read samples: the `Dataset` contract and the kinds of datasets that keep it."""
