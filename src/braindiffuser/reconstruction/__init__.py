"""Predicted latents and embeddings to pictures: first the low level, then diffusion. Sees no recording and no score."""
