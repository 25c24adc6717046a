"""The kinds of attention that come with dyc: each module in this folder registers its own, and nothing lists them."""

from dyc.layers.kinds import import_modules

import_modules(__name__, __path__)
