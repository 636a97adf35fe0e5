"""Running a graph: onnxruntime sessions behind one small protocol."""
