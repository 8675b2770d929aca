"""Models, augmentation, data on the device and the training loop: the only torch."""
