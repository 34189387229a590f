"""Saccade shows what a convolutional network looks at, over all your photos."""
