"""What the stage `evaluate` does besides scoring one kind of pictures after the other."""
