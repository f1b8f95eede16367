"""The first box of a page: what the numbers of a run support, what they do not, and why, each sentence computed."""
