"""The networks (torch only): autoencoder, codebook, code transformer, CFT, discriminator, and their files."""
