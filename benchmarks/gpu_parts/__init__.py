"""What `gpu.py` measures. A part yields results as they come, so that one that is stopped leaves what it has."""
