"""Pure computations on arrays and tensors: no pool, no file, no setting, no log."""
