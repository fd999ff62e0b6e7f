"""Run in a node: print the files on a volume as JSON, through the installed package.

list_volume.py VOLUME SERVER[,SERVER…] DIRECTORY…
"""

import json
import sys

from ganeti_gluster.core import image
from ganeti_gluster.core.volume import VolumeSpec, connect

name, servers, *directories = sys.argv[1:]
paths = []
with connect(VolumeSpec.from_params({"volume": name, "host": servers})) as volume:
    paths += [entry.name for entry in volume.scandir("/") if entry.stat.is_file]
    for directory in directories:
        try:
            listing = image.list_images(volume, directory)
        except FileNotFoundError:
            continue
        paths += [found.path for found in listing.images] + listing.unreadable
print(json.dumps(paths))
