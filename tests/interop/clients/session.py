"""A libtorrent session that has or fetches torrents, and prints what happens, until it is killed:
session.py IP:PORT FOLDER TORRENT..."""

import sys
import time

import libtorrent

CATEGORIES = libtorrent.alert.category_t
FLAGS = libtorrent.torrent_flags

listen, folder, *torrents = sys.argv[1:]
session = libtorrent.session(
    {
        "listen_interfaces": listen,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "alert_mask": CATEGORIES.error_notification
        | CATEGORIES.status_notification
        | CATEGORIES.tracker_notification
        | CATEGORIES.connect_notification,
    }
)
for torrent in torrents:
    params = libtorrent.add_torrent_params()
    params.ti = libtorrent.torrent_info(torrent)
    params.save_path = folder
    params.flags &= ~(FLAGS.auto_managed | FLAGS.paused)
    params.flags |= FLAGS.disable_pex | FLAGS.disable_lsd | FLAGS.disable_dht
    session.add_torrent(params)
while True:
    # Never wait_for_alert(): what it returns points into a queue that the library's own thread moves
    # while it grows, and the binding looks at it (SIGSEGV).
    time.sleep(0.05)
    for alert in session.pop_alerts():
        print(f"{time.monotonic():.2f} {alert.what()}: {alert.message()}")
