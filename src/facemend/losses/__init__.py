"""Training losses: pixel, perceptual, code, adversarial with adaptive weight, code prediction."""
