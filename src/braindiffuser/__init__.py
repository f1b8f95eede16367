"""Reconstruct what a person saw from their fMRI (Ozcelik & VanRullen 2023, doi 10.1038/s41598-023-42891-8)."""

__version__ = "0.1.0.dev0"
