"""Safetensors to a graph that onnxruntime runs: the ONNX bytes, the encoders, pooling, eight-bit weights."""
