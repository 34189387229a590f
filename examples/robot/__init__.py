"""Small networks that robots carry, as MODEL on the command line: `examples.robot:dronet_v2`."""

from .cifar import cifar10_resnet20
from .dronet import dronet_v2
from .perception import long_range_perception

__all__ = ["cifar10_resnet20", "dronet_v2", "long_range_perception"]
