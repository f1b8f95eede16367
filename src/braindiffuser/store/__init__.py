"""The folder of a run: finished results, drafts of steps, and JSON records with a checksum."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
