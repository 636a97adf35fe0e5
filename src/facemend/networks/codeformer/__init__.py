"""CodeFormer: encoder, codebook, code transformer, decoder and CFT, and their checkpoints."""
