"""The review app, which needs a scan folder and the images but never the model."""
