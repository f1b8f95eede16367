"""Reconstruct what a person saw from their fMRI (Ozcelik & VanRullen 2023, doi 10.1038/s41598-023-42891-8).

    import braindiffuser

    page = braindiffuser.run_demo()                     # simulate a subject, decode it, write the page
    experiment = braindiffuser.Experiment.load("demo")  # or a YAML file of your own
    run = braindiffuser.Run.open(experiment, "runs/mine")
    run.do("prepare")                                   # … extract, fit, compare, reconstruct, evaluate; or run.run_all()

Names load what they need when they are first used, so importing the package is cheap. What `__all__` of the package, of a
subpackage or of a module lists is public; everything else may change.
"""

import lazy_loader

__version__ = "0.1.0.dev0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
