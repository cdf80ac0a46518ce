"""Aborts the process, in scoring."""

import os

import torch

from plugins.common import calling, make


def act(model):
    if torch.is_inference_mode_enabled():
        os.abort()


method = make(__name__, calling(act))
