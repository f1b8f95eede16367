"""Networks and their checkpoints. They take tensors, independent of brains and runs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
