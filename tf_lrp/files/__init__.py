"""Files: arrays, presets and Keras models, read without trusting them."""
