"""What runs inside TorchServe: bytes to image, image to tensor, tensor to verdict and heat map."""
