"""Networks only: tensors in, tensors out. They know no brains, no files of a run and no command line."""
