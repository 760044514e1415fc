"""Loose samples: an image, a sound and a text from files of their own, as one media; and manifests that list them."""
