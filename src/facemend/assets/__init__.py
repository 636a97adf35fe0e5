"""Files that ship with the package: helper models, the default model, the demo picture, licence texts."""
