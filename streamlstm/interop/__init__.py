"""Exchange weights with PyTorch, Keras, ONNX and safetensors, which are imported when needed."""
