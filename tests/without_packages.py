"""Run `braindiffuser` as if some packages were not installed: python without_packages.py torch,timm WORDS…"""

import sys

from braindiffuser.cli import main


class Without:
    """Finds what a finder finds, but for some packages."""

    def __init__(self, finder, packages):
        self.finder, self.packages = finder, packages

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in self.packages else self.finder.find_spec(name, path, target)


if __name__ == "__main__":
    absent, sys.argv = set(sys.argv[1].split(",")), ["braindiffuser", *sys.argv[2:]]
    sys.meta_path[:] = [Without(finder, absent) for finder in sys.meta_path]
    main()
