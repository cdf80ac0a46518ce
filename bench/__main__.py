"""`python -m bench` is the command `bench`."""

from bench.cli import main

if __name__ == "__main__":  # processes that write pages import this module again
    main()
