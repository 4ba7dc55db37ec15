"""What is known of Keras's layers and operations: one table a family, one line an operation; everything else asks here."""
