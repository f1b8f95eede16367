"""The folder of a run: finished results, drafts of steps, and JSON records with a checksum."""
