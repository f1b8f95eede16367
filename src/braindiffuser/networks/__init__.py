"""Networks, and their checkpoints. They take tensors, and know no brains and no files of a run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
