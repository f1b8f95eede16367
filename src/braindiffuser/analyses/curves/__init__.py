"""What curves go along: one file is one curve."""
