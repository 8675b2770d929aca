"""Any image in, a digit out: NumPy, Pillow and ONNX Runtime. Shared with the service."""
