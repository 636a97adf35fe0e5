"""From a checkpoint to ONNX, with a parity check; graphs in fewer bits, which needs no torch."""
