"""``python -m stesa_cli`` is the command ``stesa``."""

from stesa_cli.cli import main

if __name__ == "__main__":
    main()
