"""Open data sets: what each holds and where, and how chosen files of it come to this machine."""
