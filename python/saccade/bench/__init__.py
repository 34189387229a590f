"""`saccade bench`: what an explanation costs on this machine, beside the plain forward pass and other packages."""
