"""Other libraries: iNNvestigate's names, Quantus, TensorBoard."""
