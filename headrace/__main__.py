"""`python -m headrace`: the command, where `headrace` itself is not on the path."""

from engine.cli import main

if __name__ == "__main__":
    main()
