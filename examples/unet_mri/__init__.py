"""A U-Net that outlines tumours in slices of brain MRI."""
