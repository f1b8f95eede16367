"""What the fitted decoders say about the brain: the picture that a region wants to see."""
