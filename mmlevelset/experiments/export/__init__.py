"""export.py: a trained detector as one file, ONNX or torch.export's, that checks itself."""
