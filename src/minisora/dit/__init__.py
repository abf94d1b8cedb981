"""Latents to tokens to velocity: the diffusion transformer."""
