"""Exchange of weights with PyTorch, Keras, ONNX and safetensors; they are imported when needed."""
