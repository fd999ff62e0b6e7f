"""What Ganeti gets wrong for the gluster template, mended while it is wrong.

Each module mends one part of Ganeti and is called by `ganeti_gluster.plugin`
when that part is imported.  Where a fault can be seen by calling the function
concerned, it is, so that a Ganeti that no longer has it stays untouched.
"""
