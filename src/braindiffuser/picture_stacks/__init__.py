"""Stacks: many pictures in one array of a file, of any usual kind, layout and scale, read a few at a time.

Each format of files is one module, which `stored.FORMATS` lists by its endings; `stack` finds the pictures in it.
"""

from braindiffuser.picture_stacks.stack import Stack as Stack
from braindiffuser.picture_stacks.stack import open_stack as open_stack
from braindiffuser.picture_stacks.stored import SUFFIXES as SUFFIXES
from braindiffuser.picture_stacks.stored import is_stack as is_stack
from braindiffuser.picture_stacks.stored import split_key as split_key

__all__ = ["SUFFIXES", "Stack", "is_stack", "open_stack", "split_key"]
