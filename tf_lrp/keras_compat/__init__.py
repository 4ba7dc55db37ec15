"""Every use of what Keras and TensorFlow do not promise: private names, tables of operations, tracing, opened layers."""
