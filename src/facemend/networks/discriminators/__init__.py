"""What judges made pictures in training: a patch and a projected discriminator."""
