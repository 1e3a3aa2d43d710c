"""The app: what one scan found is looked at and decided upon; needs the scan folder and the images, never the model."""
