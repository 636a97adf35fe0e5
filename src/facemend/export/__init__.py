"""From a checkpoint to ONNX, with a parity check."""
