"""``python -m lexicell`` is ``lexicell``."""

from .cli import main

main()
