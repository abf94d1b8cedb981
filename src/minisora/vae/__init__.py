"""Video VAE: clips to latents and back."""
