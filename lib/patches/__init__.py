"""Corrections of Ganeti for the gluster template.

Each module corrects one part of Ganeti.  `ganeti_gluster.plugin` calls it when that part is
imported.  If a fault can be detected by calling the function, it is, so a release of Ganeti
without the fault stays unchanged.
"""
