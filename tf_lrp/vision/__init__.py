"""Pictures: files, preprocessing, grids of images, classifiers with the names of their classes."""
