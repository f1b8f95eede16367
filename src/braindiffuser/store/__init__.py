"""The folder of a run: finished results, drafts of steps, and the books in which a run keeps what it knows."""
