"""torchrun, which starts, watches and restarts the processes of a pretraining: the same program,
but it ends with the process that started it."""

import sys

from torch.distributed.run import main

from bench.runner import parent_watch

if __name__ == "__main__":
    parent_watch.end_with_parent()
    main(sys.argv[1:])
