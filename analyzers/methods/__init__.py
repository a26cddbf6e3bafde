"""The mathematics: a model and ids in, tensors out."""
