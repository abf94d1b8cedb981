"""Networks that several papers share: the U-Net, transformer blocks, embeddings."""
