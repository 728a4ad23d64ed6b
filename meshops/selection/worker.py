"""A process that trains some members of a network for a fit that started it: what to do comes through its input.

Its parent is the only one that writes to that pipe, so that nothing of a stranger is ever unpickled.
"""

from __future__ import annotations

import pickle
import sys

import torch

from meshops.selection.networks import train_member


def main() -> None:
    """Train the folds that are named as arguments; each leaves its ``member.pt``."""
    network, bench, steps = pickle.load(sys.stdin.buffer)
    torch.set_num_threads(1)
    for fold in map(int, sys.argv[1:]):
        train_member(network, bench, fold, steps)


if __name__ == "__main__":
    main()
