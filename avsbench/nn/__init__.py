"""Blocks that two methods or more share: visual backbones, audio networks, pretrained weights, checkpoints."""
