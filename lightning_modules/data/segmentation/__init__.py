"""Images with a class for each pixel: where the files lie, what is checked before a training, and augmentation."""
