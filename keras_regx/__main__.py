"""`python -m keras_regx`: the command line."""

from keras_regx.cli import main

main()
