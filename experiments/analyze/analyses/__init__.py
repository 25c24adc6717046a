"""One file for each analysis; the command finds it by itself.

The first line of the file says in ``dyc analyze --help`` what is shown. ``DYNAMIC = "attention"`` says that static
networks have nothing to show, and what they lack. ``add_options(parser)`` adds options, and ``run(job)`` computes,
draws and writes.
"""
