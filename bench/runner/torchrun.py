"""torchrun, which starts, watches and restarts the processes of a pretraining: the same program,
but it ends with the process that started it."""

import sys

from torch.distributed.run import main

from bench.runner import lifeline

if __name__ == "__main__":
    lifeline.hold()
    main(sys.argv[1:])
