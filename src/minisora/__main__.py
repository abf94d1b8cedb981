"""`python -m minisora`: the same as the installed command."""

from minisora.cli import main

if __name__ == "__main__":
    main()
