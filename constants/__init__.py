"""The disk parameters that this package adds to Ganeti's gluster template.

Only names, defaults and help; the checks of their values are in
`ganeti_gluster.tools.names`.
"""

# The bytes of Ganeti's unit of size.
MIB = 1 << 20

# Ganeti's own parameters of the template, with Ganeti's defaults.
PARAM_HOST = "host"
PARAM_PORT = "port"
PARAM_VOLUME = "volume"
PARAM_ACCESS = "access"

# How the space of a new image is set aside: the file is sparse (off), its
# blocks are reserved (falloc), or it is written with zeroes (full).
PARAM_PREALLOCATION = "preallocation"

# Whether an image that is open on one node is locked against the others.
PARAM_LOCKING = "locking"

# Seconds for which requests wait for storage that is away before they fail: longer than a
# node takes to start.
PARAM_PATIENCE = "patience"

# What is added to Ganeti's table of defaults of the template.
DISK_PARAMETERS = {PARAM_PREALLOCATION: "off", PARAM_LOCKING: "on", PARAM_PATIENCE: "900"}

# What says where a volume is, how an image on it is opened, and all that a disk has.
VOLUME_PARAMETERS = (PARAM_HOST, PARAM_PORT, PARAM_VOLUME)
OPEN_PARAMETERS = (*VOLUME_PARAMETERS, PARAM_LOCKING, PARAM_PATIENCE)
TEMPLATE_PARAMETERS = (*VOLUME_PARAMETERS, PARAM_ACCESS, *DISK_PARAMETERS)

# The directory of the images on the volume, as in stock Ganeti.
IMAGE_DIRECTORY = "ganeti"
# Those of the ExtStorage provider's disks: no name of the one can be a name of the other.
EXT_DIRECTORY = "ganeti-ext"
IMAGE_DIRECTORIES = (IMAGE_DIRECTORY, EXT_DIRECTORY)
# That of a repository of backups on a volume, in which there are no images.
BACKUP_DIRECTORY = "ganeti-backup"
# The name under which the provider is installed.
EXT_PROVIDER = "gluster"

# Ganeti's releases (major, minor) that this package knows.
SUPPORTED_GANETI = ((3, 0), (3, 1))

# An administrator's switch: while this file exists, the node's Ganeti is stock.
DISABLED_FILE = "/etc/ganeti/gluster-plugin-disabled"

# Where a node daemon leaves the result of its registration, and exports live.
RUN_DIR = "/run/ganeti-gluster"
NODED_STATE_FILE = RUN_DIR + "/noded.json"
# The process of Ganeti's node daemon, as Ganeti itself leaves it.
NODED_PID_FILE = "/run/ganeti/ganeti-noded.pid"
EXPORT_DIR = RUN_DIR + "/exports"

# What Ganeti tells each node of the cluster (ssconf), which node is the master among it.
GANETI_SSCONF_DIR = "/var/lib/ganeti"
GANETI_KNOWN_HOSTS = GANETI_SSCONF_DIR + "/known_hosts"
GANETI_MASTER_NODE = GANETI_SSCONF_DIR + "/ssconf_master_node"

# The schedules of backups, and what became of them so far, on the master.
BACKUP_CONF = "/etc/ganeti/gluster-backup.conf"

# The master list of services, and what is to be known of them (lib/services).
SERVICES_CONF = "/etc/ganeti/gluster-services.conf"
SERVICES_DIR = "/var/lib/ganeti-gluster/services"
SERVICES_STORE = SERVICES_DIR + "/store.db"
SERVICES_REPLICA = SERVICES_DIR + "/replica.json"
# Starts and stops by users, which the next sync stores as events.
SERVICES_BY_USERS = SERVICES_DIR + "/by-users"
SERVICES_ANSWERS = SERVICES_DIR + "/answers.json"
EVENTS_HOOK_DIR = "/etc/ganeti/gluster-events.d"
SERVICES_LOCK = RUN_DIR + "/services.lock"
# What the node's agent has ready for the master, and that it runs once.
SERVICES_PREPARED = RUN_DIR + "/services-prepared"
AGENT_LOCK = RUN_DIR + "/agent.lock"
# That the schedules of backups are carried out once at a time.
BACKUP_LOCK = RUN_DIR + "/backup-schedules.lock"
SERVICES_MASTER = RUN_DIR + "/services-master"
SERVICES_SYNC_WANTED = RUN_DIR + "/services-sync-wanted"
# The servers of open images: what they are to serve, and the sockets at which they are asked.
IMAGE_SERVER_DIR = RUN_DIR + "/images"
# The sockets at which they serve, and nothing else (lib/tools/private.py).
IMAGE_SOCKET_DIR = "/run/ganeti-gluster-nbd"
# Paths of the provider's disks, which stay while their block devices come and go.
DEVICE_DIR = RUN_DIR + "/devices"

# What a node keeps over its reboots; nothing in it is needed for a disk to work.
STATE_DIR = "/var/lib/ganeti-gluster"
BACKUP_STATE = STATE_DIR + "/backup-schedules.json"
# Marks of snapshots that are under way, one file an instance.
SNAPSHOT_DIR = RUN_DIR + "/snapshots"
# Where the node keeps, in files without a name, what running guests overwrite
# while a snapshot of them is copied.
FLEECING_DIR = "/var/lib/ganeti-gluster/fleecing"
